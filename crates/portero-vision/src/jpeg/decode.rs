//! JPEG to RGB. Every size is checked before memory is asked for; a damaged picture is an error, never a panic.

use std::io::Cursor;

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Most scans of a progressive picture: each goes over all of it.
const MAX_SCANS: usize = 64;

/// Why a picture was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is none, or a part of it is missing or wrong; in the decoder's words.
    #[error("{0}")]
    Damaged(String),
    /// It has more pixels than allowed.
    #[error("{width}x{height} pixels are too many")]
    TooLarge {
        /// In pixels, as its head says.
        width: u32,
        /// In pixels, as its head says.
        height: u32,
    },
}

/// Width, height and RGB of a whole JPEG picture, Huffman tables included: `3 * width * height` bytes, row by row. No side may be longer
/// than `max_side` pixels, and no more than `max_pixels` are decoded.
///
/// # Errors
/// [`DecodeError`]; nothing is given of a picture that is damaged.
pub fn decode(bytes: &[u8], max_side: u32, max_pixels: u64) -> Result<(u32, u32, Vec<u8>), DecodeError> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| DecodeError::Damaged(error.to_string());
    let options = DecoderOptions::new_fast()
        .set_max_width(max_side as usize)
        .set_max_height(max_side as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| DecodeError::Damaged("it states no size".to_owned()))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge { width, height });
    }
    let wanted = width as usize * height as usize * 3;
    if decoder.output_buffer_size() != Some(wanted) {
        return Err(DecodeError::Damaged("its colours are of no known kind".to_owned()));
    }
    let mut rgb = vec![0; wanted];
    decoder.decode_into(&mut rgb).map_err(damaged)?;
    Ok((width, height, rgb))
}
