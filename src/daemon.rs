//! The topology: build all, wire, spawn, watch, join. The only place where threads are born.
