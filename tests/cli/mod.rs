//! What people see of the command line.

mod check;
mod events;
