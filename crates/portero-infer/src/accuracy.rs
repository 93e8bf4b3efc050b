//! What the provenance of a manifest says of the model's accuracy. Nothing else of it is read, and nothing in it is wrong.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A model's accuracy as its manifest records it. It was measured when the model was made, on the data that its provenance
/// names: two models compare only where these are the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// The part of the data: `test`, `val`, `measured` for what was measured now, or `?` where that is not said.
    pub part: &'static str,
    /// The mean over classes, where true; else over pictures.
    pub balanced: bool,
    /// 0.0 to 1.0.
    pub value: f64,
    /// Low and high end of the interval, if there is one.
    pub interval: Option<(f64, f64)>,
}

/// The keys that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Provenance {
    test_exported_balanced_accuracy: Option<Rate>,
    val_exported_balanced_accuracy: Option<Rate>,
    balanced_accuracy: Option<Rate>,
    test_exported_accuracy: Option<Rate>,
    val_exported_accuracy: Option<Rate>,
    accuracy: Option<Rate>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Rate {
    Interval([f64; 3]),
    Value(f64),
    /// Provenance is for people: what they write in another form is no mistake.
    Other(IgnoredAny),
}

impl Provenance {
    /// The figure that says most: balanced before plain, test before val.
    pub(super) fn accuracy(&self) -> Option<Accuracy> {
        let figures = [
            ("test", true, self.test_exported_balanced_accuracy),
            ("val", true, self.val_exported_balanced_accuracy),
            ("?", true, self.balanced_accuracy),
            ("test", false, self.test_exported_accuracy),
            ("val", false, self.val_exported_accuracy),
            ("?", false, self.accuracy),
        ];
        figures.into_iter().find_map(|(part, balanced, rate)| {
            let (value, interval) = match rate? {
                Rate::Interval([value, low, high]) => (value, Some((low, high))),
                Rate::Value(value) => (value, None),
                Rate::Other(_) => return None,
            };
            (0.0..=1.0).contains(&value).then_some(Accuracy { part, balanced, value, interval })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Accuracy> {
        toml::from_str::<Provenance>(text).unwrap().accuracy()
    }

    #[test]
    fn the_figure_that_says_most_is_taken() {
        let text = "val_exported_accuracy = [0.9, 0.8, 0.95]\ntest_exported_balanced_accuracy = [0.87, 0.85, 0.9]\nseed = 3\n";
        let expected = Accuracy { part: "test", balanced: true, value: 0.87, interval: Some((0.85, 0.9)) };
        assert_eq!(read(text), Some(expected));
        assert_eq!(
            read("accuracy = 0.5").map(|a| (a.value, a.balanced, a.interval)),
            Some((0.5, false, None))
        );
    }

    #[test]
    fn what_people_write_in_another_form_is_no_mistake() {
        assert_eq!(read("accuracy = \"97 % on COCO crops\"\ncard = \"m.md\""), None);
        assert_eq!(read("accuracy = 97"), None);
        let next = "balanced_accuracy = \"see the card\"\naccuracy = 0.97";
        assert_eq!(read(next).map(|a| a.value), Some(0.97));
        assert_eq!(read(""), None);
    }
}
