//! What a trained network is worth: figures from val and test, as text, as JSON, and as one HTML page.
//!
//! Val chooses the temperature; what is reported comes from the test part, which nothing else has looked at. This
//! room fits nothing.

mod charts;
mod comparison;
mod curves;
mod evaluation;
mod gallery;
mod markdown;
mod page;
mod paired;
mod rates;
mod rejection;
mod temperature;

pub(crate) use comparison::{Comparison, Said};
pub(crate) use evaluation::{Evaluation, evaluate, of_probabilities};
pub(crate) use markdown::cell;
pub(crate) use page::page;
pub(crate) use paired::Paired;
pub(crate) use rates::Rate;
pub(crate) use rejection::Threshold;
