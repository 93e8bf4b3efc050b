//! What people see of the command line.

mod check;
mod command;
mod events;
mod models;
