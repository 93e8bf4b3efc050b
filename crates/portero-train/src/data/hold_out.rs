//! Classes held out of training: kept as unknowns, to see whether what was never met is rejected.
//!
//! They come after the known classes in the numbering. Their pictures are dealt to val and test only; those that
//! the folders put into train are not used at all.

use super::{DataError, Dataset, Part};

impl Dataset {
    /// Makes unknowns of the classes `names`.
    ///
    /// # Errors
    /// [`DataError::HoldOut`] when there is no such class, or fewer than two others.
    pub(super) fn hold_out(&mut self, names: &[String]) -> Result<(), DataError> {
        if let Some(class) = names.iter().find(|name| !self.classes.contains(name)) {
            let why = format!("is none of the classes {}", self.classes.join(", "));
            return Err(DataError::HoldOut { class: class.clone(), why });
        }
        let (held_out, known): (Vec<usize>, Vec<usize>) =
            (0..self.classes.len()).partition(|&class| names.contains(&self.classes[class]));
        if known.len() < 2 {
            let why = "would leave fewer than two classes to tell apart".to_owned();
            return Err(DataError::HoldOut { class: names.join(", "), why });
        }
        let order = [&known[..], &held_out[..]].concat();
        let mut number = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| number[*old] = new);
        self.samples.iter_mut().for_each(|sample| sample.class = number[sample.class]);
        let named = |classes: &[usize]| classes.iter().map(|&class| self.classes[class].clone()).collect();
        (self.held_out, self.classes) = (named(&held_out), named(&known));
        Ok(())
    }

    /// Drops the unknowns that would be trained on.
    pub(super) fn drop_unknown_of_train(&mut self) {
        let known = self.classes.len();
        self.samples.retain(|sample| sample.class < known || sample.part != Part::Train);
    }

    /// The indices of the samples of the held-out classes in one part.
    pub(crate) fn unknown(&self, part: Part) -> Vec<usize> {
        self.of(part).filter(|&i| self.samples[i].class >= self.classes.len()).collect()
    }

    /// The name of a class, held out or not.
    pub(crate) fn class_name(&self, class: usize) -> &str {
        let mut names = self.classes.iter().chain(&self.held_out);
        names.nth(class).map_or("?", String::as_str)
    }
}
