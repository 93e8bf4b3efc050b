//! The configuration file: a raw mirror of the TOML, checked into the settings of every room.
