//! What a trained network is worth: figures from val and test, as text, as JSON, and as one HTML page.
//!
//! Val chooses the temperature; what is reported comes from the test part, which nothing else has looked at. This
//! room fits nothing.

mod charts;
mod curves;
mod evaluation;
mod page;
mod rates;
mod temperature;

pub(crate) use evaluation::evaluate;
pub(crate) use page::page;
