//! Compressed pictures to RGB and raw ones to RGB or planes, with limits.
//!
//! What arrives here comes from outside: every size is checked before memory is asked for, and a damaged picture
//! is an error, never a panic and never a grey half. EXIF is ignored: a picture is used as its pixels lie.

use std::io::Cursor;
use std::path::Path;

use portero_vision::jpeg::{self, DecodeError};

use super::{CaptureError, Picture, PixelFormat, mjpeg};
use crate::domain::{Pixels, yuv};

/// The longest side of a picture, in pixels.
pub const MAX_SIDE: u32 = 8192;
/// The most pixels of a picture: 48 megapixels, 144 MB as RGB.
pub const MAX_PIXELS: u64 = 48_000_000;
/// The most bytes of a compressed picture in a stream.
pub(super) const MAX_STREAM_PICTURE_BYTES: usize = 16 << 20;
/// The most bytes of a picture file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// How a picture that is still to be decoded is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Jpeg,
    Raw { format: PixelFormat, width: u32, height: u32 },
}

/// A picture that is still to be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Encoded {
    /// A JPEG picture.
    #[must_use]
    pub fn jpeg(bytes: Vec<u8>) -> Self {
        Self { encoding: Encoding::Jpeg, bytes }
    }

    /// A raw frame; its length is checked when it is decoded.
    #[must_use]
    pub fn raw(format: PixelFormat, width: u32, height: u32, bytes: Vec<u8>) -> Self {
        Self { encoding: Encoding::Raw { format, width, height }, bytes }
    }

    /// `jpeg`, or the name of the raw layout.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match self.encoding {
            Encoding::Jpeg => "jpeg",
            Encoding::Raw { format, .. } => format.as_str(),
        }
    }

    /// Decodes it; a raw frame is only converted.
    ///
    /// # Errors
    /// [`CaptureError::Damaged`], [`CaptureError::TooLarge`] or [`CaptureError::Size`].
    pub fn decode(self) -> Result<Picture, CaptureError> {
        match self.encoding {
            Encoding::Jpeg => decode_jpeg(&self.bytes, "a JPEG picture"),
            Encoding::Raw { format, width, height } => convert(format, width, height, self.bytes),
        }
    }
}

/// Fails unless pictures of this size may be decoded.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), CaptureError> {
    if (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) {
        Ok(())
    } else {
        Err(CaptureError::Size { width, height })
    }
}

fn damaged(what: &str, why: &dyn std::fmt::Display) -> CaptureError {
    CaptureError::Damaged { what: what.to_owned(), why: why.to_string() }
}

fn convert(format: PixelFormat, width: u32, height: u32, bytes: Vec<u8>) -> Result<Picture, CaptureError> {
    check_size(width, height)?;
    let (w, h) = (width as usize, height as usize);
    let wrong =
        || damaged("a raw frame", &format_args!("it does not fill {width}x{height} as {}", format.as_str()));
    let pixels = match format {
        PixelFormat::Rgb24 => Pixels::Rgb(bytes),
        PixelFormat::Yuv420p => Pixels::Yuv420p(bytes),
        PixelFormat::Yuyv => Pixels::Yuv420p(yuv::yuyv_to_planes(&bytes, w, h).ok_or_else(wrong)?),
    };
    if pixels.wanted(width, height) != pixels.len() as u128 {
        return Err(wrong());
    }
    Ok(Picture { width, height, pixels })
}

/// Decodes a JPEG picture; `what` names it in errors.
pub(super) fn decode_jpeg(bytes: &[u8], what: &str) -> Result<Picture, CaptureError> {
    let whole = mjpeg::trim(bytes).ok_or_else(|| damaged(what, &"it is truncated"))?;
    if mjpeg::has_tables(whole) {
        return decode_whole_jpeg(whole, what);
    }
    // Motion JPEG of webcams and AVI files leaves the standard Huffman tables out (T.81, annex K); the decoder
    // adds them when it finds the marker that AVI writers put in.
    let marked = [&whole[..2], b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0", &whole[2..]].concat();
    decode_whole_jpeg(&marked, what)
}

fn decode_whole_jpeg(bytes: &[u8], what: &str) -> Result<Picture, CaptureError> {
    match jpeg::decode(bytes, MAX_SIDE, MAX_PIXELS) {
        Ok((width, height, rgb)) => Ok(Picture { width, height, pixels: rgb.into() }),
        Err(DecodeError::TooLarge { width, height }) => Err(too_large(width, height, what)),
        Err(DecodeError::Damaged(why)) => Err(damaged(what, &why)),
    }
}

fn too_large(width: u32, height: u32, what: &str) -> CaptureError {
    let (found, allowed) =
        (format!("{width}x{height} pixels"), format!("{} megapixels", MAX_PIXELS / 1_000_000));
    CaptureError::TooLarge { what: what.to_owned(), found, allowed }
}

/// Reads and decodes a picture file: JPEG, PNG, BMP or WebP, told apart by content. Blocks on the disk.
///
/// # Errors
/// [`CaptureError::Missing`], [`CaptureError::File`], [`CaptureError::Damaged`] (truncated and empty files too)
/// or [`CaptureError::TooLarge`], each naming the file.
pub fn load_picture(path: &Path) -> Result<Picture, CaptureError> {
    let what = path.display().to_string();
    let bytes = read_limited(path, &what)?;
    if bytes.is_empty() {
        return Err(damaged(&what, &"it is empty"));
    }
    if bytes.starts_with(&[0xff, 0xd8]) {
        return decode_jpeg(&bytes, &what);
    }
    let mut reader = image::ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|source| CaptureError::File { path: path.to_owned(), source })?;
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_PIXELS * 4);
    reader.limits(limits);
    let rgb = reader.decode().map_err(|error| damaged(&what, &error))?.into_rgb8();
    let (width, height) = rgb.dimensions();
    check_size(width, height)?;
    Ok(Picture { width, height, pixels: rgb.into_raw().into() })
}

fn read_limited(path: &Path, what: &str) -> Result<Vec<u8>, CaptureError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CaptureError::Missing { path: path.to_owned() },
        _ => CaptureError::File { path: path.to_owned(), source },
    };
    let facts = std::fs::metadata(path).map_err(failed)?;
    if !facts.is_file() {
        return Err(damaged(what, &"it is no regular file"));
    }
    if facts.len() > MAX_FILE_BYTES {
        let (found, allowed) =
            (format!("{} MiB", facts.len() >> 20), format!("{} MiB", MAX_FILE_BYTES >> 20));
        return Err(CaptureError::TooLarge { what: what.to_owned(), found, allowed });
    }
    std::fs::read(path).map_err(failed)
}
