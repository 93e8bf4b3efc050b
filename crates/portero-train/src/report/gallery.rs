//! Pictures in the page: as the network sees them, each with what was said of it.

use std::fmt::Write as _;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use portero_core::domain::Frame;

use super::charts::escape;
use crate::data::Dataset;

/// Pictures in a gallery.
const SHOWN: usize = 48;
const JPEG_QUALITY: u8 = 82;

/// One picture.
pub(super) struct Card {
    /// Index into the data set's samples.
    pub(super) sample: usize,
    pub(super) wrong: bool,
    /// HTML.
    pub(super) text: String,
}

/// The first of `cards` with their pictures, under a title that says how many there are.
pub(super) fn gallery(html: &mut String, set: &Dataset, title: &str, cards: &[Card]) {
    let shown = cards.len().min(SHOWN);
    // Writing to a String cannot fail.
    let _ = write!(html, "<h2>{title} <span class=\"faint\">{shown} of {}</span></h2>", cards.len());
    html.push_str("<div class=\"gallery\">");
    for card in cards.iter().take(SHOWN) {
        let sample = &set.samples[card.sample];
        let (wrong, small) = (
            if card.wrong { " wrong" } else { "" },
            if sample.picture.width() < 100 { " small" } else { "" },
        );
        let _ = write!(
            html,
            "<div class=\"card{wrong}{small}\"><img alt=\"\" src=\"{}\"><p>{}<br><span class=\"faint\">{}</span></p></div>",
            picture(&sample.picture, sample.size_px),
            card.text,
            escape(&sample.name)
        );
    }
    html.push_str("</div>");
}

/// The picture as the network sees it, within the address of an image; stretched back to its own shape.
fn picture(picture: &Frame, original: (u32, u32)) -> String {
    let (width, height) = (picture.width(), picture.height());
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    if encoder.encode(picture.rgb(), width, height, ExtendedColorType::Rgb8).is_err() {
        // A card without a picture still tells the rest.
        return String::new();
    }
    // An SVG around it restores the shape that a square input stretched away.
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0} {1}'><image width='{0}' height='{1}' \
         preserveAspectRatio='none' style='image-rendering:{2}' href='data:image/jpeg;base64,{3}'/></svg>",
        original.0,
        original.1,
        if width < 100 { "pixelated" } else { "auto" },
        base64(&jpeg)
    );
    format!("data:image/svg+xml;base64,{}", base64(svg.as_bytes()))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
