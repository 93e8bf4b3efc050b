//! IDX files, the format of MNIST and Fashion-MNIST: a big-endian header (two zero bytes, type 0x08 = unsigned
//! byte, number of dimensions, each dimension as u32), then the bytes. Format: <http://yann.lecun.com/exdb/mnist/>.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use portero_core::words::hex;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{DataError, Dataset, Part, Sample, picture};

/// The classes of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017); the files hold numbers only.
const FASHION: [&str; 10] =
    ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"];

/// More than any such set has: a header that claims more is refused before memory is taken for it.
const MAX_BYTES: u64 = 1 << 30;

/// The two files of a part.
pub(super) struct Files {
    part: Part,
    images: PathBuf,
    labels: PathBuf,
}

/// The IDX files in `data`, if there is a training part.
pub(super) fn find(data: &Path) -> Option<Vec<Files>> {
    let existing = |stem: String| {
        ["", ".gz"].iter().map(|end| data.join(format!("{stem}{end}"))).find(|path| path.is_file())
    };
    let files = |prefix: &str, part| {
        let images = existing(format!("{prefix}-images-idx3-ubyte"))?;
        Some(Files { part, images, labels: existing(format!("{prefix}-labels-idx1-ubyte"))? })
    };
    let train = files("train", Part::Train)?;
    Some([Some(train), files("t10k", Part::Test)].into_iter().flatten().collect())
}

fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(file).take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// The dimensions and what follows them.
fn parse<'a, const N: usize>(
    path: &Path,
    bytes: &'a [u8],
    kind: &'static str,
) -> Result<([usize; N], &'a [u8]), DataError> {
    let wrong = |what, found: String, expected: String| DataError::Idx {
        path: path.to_owned(),
        what,
        kind,
        found,
        expected,
    };
    let magic = [0, 0, 8, N as u8];
    let Some((head, body)) = bytes.split_at_checked(4 + 4 * N) else {
        return Err(wrong("the length", format!("{} bytes", bytes.len()), format!("at least {}", 4 + 4 * N)));
    };
    if head[..4] != magic {
        return Err(wrong("the beginning", format!("{:02x?}", &head[..4]), format!("{magic:02x?}")));
    }
    let mut sizes = [0; N];
    for (size, word) in sizes.iter_mut().zip(head[4..].chunks_exact(4)) {
        *size = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize;
    }
    let expected = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    match expected {
        Some(expected) if expected == body.len() && expected > 0 => Ok((sizes, body)),
        _ => Err(wrong(
            "the number of bytes after the header",
            body.len().to_string(),
            format!("{sizes:?} of them"),
        )),
    }
}

/// Reads all files. The training part is marked as open, so that a validation part is drawn from it.
pub(super) fn load(files: &[Files], data: &Path) -> Result<Dataset, DataError> {
    let mut sha256 = Sha256::new();
    let mut samples = Vec::new();
    for part in files {
        let (image_bytes, label_bytes) = (bytes(&part.images)?, bytes(&part.labels)?);
        sha256.update(&image_bytes);
        sha256.update(&label_bytes);
        let ([count, height, width], pixels) = parse::<3>(&part.images, &image_bytes, "images")?;
        let ([labels], classes) = parse::<1>(&part.labels, &label_bytes, "labels")?;
        if labels != count {
            let (found, expected) = (labels.to_string(), format!("{count}, as there are images"));
            let path = part.labels.clone();
            return Err(DataError::Idx {
                path,
                what: "the number of labels",
                kind: "labels",
                found,
                expected,
            });
        }
        let stem = super::name_below(data, &part.images);
        let made =
            pixels.par_chunks_exact(width * height).zip(classes).enumerate().map(|(i, (grey, class))| {
                let rgb = grey.iter().flat_map(|g| [*g; 3]).collect();
                let size_px = (width as u32, height as u32);
                let picture = picture::frame(size_px.0, size_px.1, rgb)?;
                let look = picture::Look::of(&picture)?;
                Ok(Sample {
                    name: format!("{stem}#{i}"),
                    class: usize::from(*class),
                    part: part.part,
                    size_px,
                    picture,
                    look,
                })
            });
        let made: Result<Vec<_>, picture::Cause> = made.collect();
        samples.extend(made.map_err(|cause| DataError::Read {
            path: part.images.clone(),
            source: std::io::Error::other(cause),
        })?);
    }
    let count = samples.iter().map(|s| s.class + 1).max().unwrap_or(0);
    let classes: Vec<String> = if count == FASHION.len() && data.to_string_lossy().contains("fashion") {
        FASHION.map(str::to_owned).to_vec()
    } else {
        (0..count).map(|number| number.to_string()).collect()
    };
    for (number, class) in classes.iter().enumerate() {
        if !samples.iter().any(|s| s.class == number) {
            return Err(DataError::EmptyClass { path: data.to_owned(), class: class.clone() });
        }
    }
    if let [class] = classes.as_slice() {
        return Err(DataError::OneClass { path: data.to_owned(), class: class.clone() });
    }
    // With a test part of its own, only val is drawn from train; see `split`.
    let has_test = files.len() > 1;
    let open = samples.iter().map(|s| !has_test && s.part == Part::Train).collect();
    let sha256 = hex(&sha256.finalize());
    Ok(Dataset { classes, held_out: Vec::new(), samples, skipped: Vec::new(), open, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked_against_what_follows() {
        let path = Path::new("x");
        let good = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[7, 9]].concat();
        assert_eq!(parse::<1>(path, &good, "labels").unwrap(), ([2], &[7, 9][..]));
        let refused = |bytes: &[u8]| parse::<1>(path, bytes, "labels").unwrap_err().to_string();
        assert!(refused(&good[..9]).contains("the number of bytes after the header is 1"));
        assert!(refused(&[0, 0, 8, 3, 0, 0, 0, 2, 7, 9]).contains("the beginning is [00, 00, 08, 03]"));
        assert!(refused(&[0, 0]).contains("the length is 2 bytes"));
        let huge = [&[0, 0, 8, 3][..], &[0xff; 12]].concat();
        assert!(parse::<3>(path, &huge, "images").is_err(), "the product must not overflow");
    }
}
