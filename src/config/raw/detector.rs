//! `[detector]`.

use std::path::PathBuf;

use toml::Spanned;

use crate::config::file::Place;
use crate::config::keys;
use crate::config::reader::Table;

/// `[detector]`; names are not yet looked up.
pub(in crate::config) struct RawDetector {
    pub(in crate::config) manifest: Spanned<PathBuf>,
    /// `None` takes all that it knows.
    pub(in crate::config) labels: Option<Vec<Spanned<String>>>,
}

pub(super) fn read(file: &Table<'_>, place: &Place) -> Option<RawDetector> {
    let table = file.get("detector")?.table(&keys::DETECTOR)?;
    let labels = table.get("labels").map(|value| value.texts().unwrap_or_default());
    let manifest = table.required("manifest", "\"/etc/portero/yolox-nano.toml\"")?;
    let manifest = Spanned::new(manifest.span.clone(), place.path(manifest.text()?));
    Some(RawDetector { manifest, labels })
}
