//! One integration binary: linking tract once is enough.

mod cli;
