//! What was seen, drawn into the picture: a box and a line of text.

use font8x8::legacy::BASIC_LEGACY;

use portero_vision::jpeg;

use super::EvidenceError;
use crate::domain::{Frame, NormRect, PixelRect};

/// A box with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What was looked at.
    pub rect: NormRect,
    /// What was seen there; characters beyond ASCII are drawn as `?`.
    pub text: String,
}

type Colour = [u8; 3];
const BOX: Colour = [255, 64, 32];
const TEXT: Colour = [255, 255, 255];
/// Pixels of a glyph of the font, each way.
const GLYPH: usize = 8;

/// The frame as JPEG of this quality with the marks drawn into it; without any it is the plain frame.
///
/// # Errors
/// [`EvidenceError::Picture`] when a side is beyond 65,535 pixels.
pub fn snapshot(frame: &Frame, marks: &[Mark], quality: u8) -> Result<Vec<u8>, EvidenceError> {
    if marks.is_empty() {
        return Ok(jpeg::encode(frame, quality)?);
    }
    let mut canvas = Canvas::of(frame);
    for mark in marks {
        canvas.draw(mark);
    }
    Ok(jpeg::encode_rgb(&canvas.rgb, frame, quality)?)
}

struct Canvas {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
    /// Thickness of lines and size of a glyph's dot, in pixels.
    dot: usize,
}

impl Canvas {
    fn of(frame: &Frame) -> Self {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        // Readable in a picture of any size: a letter is about a thirtieth of its height.
        let dot = (width.min(height) / 240).clamp(1, 8);
        Self { rgb: frame.rgb().to_vec(), width, height, dot }
    }

    fn draw(&mut self, mark: &Mark) {
        let PixelRect { x, y, width, height } = mark.rect.to_pixels(self.width as u32, self.height as u32);
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = (left + width as usize, top + height as usize);
        let line = self.dot;
        self.fill(left, top, right, top + line, BOX);
        self.fill(left, bottom.saturating_sub(line), right, bottom, BOX);
        self.fill(left, top, left + line, bottom, BOX);
        self.fill(right.saturating_sub(line), top, right, bottom, BOX);
        self.label(left, top, &mark.text);
    }

    /// The text on a strip above `top`, or below it where there is no room, moved left until it fits.
    fn label(&mut self, left: usize, top: usize, text: &str) {
        let margin = self.dot;
        let tall = GLYPH * self.dot + 2 * margin;
        let wide = text.chars().count() * GLYPH * self.dot + 2 * margin;
        let left = left.min(self.width.saturating_sub(wide));
        let top = if top >= tall { top - tall } else { top };
        self.fill(left, top, left + wide, top + tall, BOX);
        for (i, c) in text.chars().enumerate() {
            self.glyph(left + margin + i * GLYPH * self.dot, top + margin, c);
        }
    }

    fn glyph(&mut self, left: usize, top: usize, c: char) {
        let known = BASIC_LEGACY.get(c as usize).filter(|_| !c.is_control());
        let rows = known.unwrap_or(&BASIC_LEGACY[b'?' as usize]);
        for (y, row) in rows.iter().enumerate() {
            // The lowest bit is the leftmost dot.
            for x in (0..GLYPH).filter(|x| row >> x & 1 == 1) {
                let (x, y) = (left + x * self.dot, top + y * self.dot);
                self.fill(x, y, x + self.dot, y + self.dot, TEXT);
            }
        }
    }

    /// Fills a rectangle, as far as it lies within the picture.
    fn fill(&mut self, left: usize, top: usize, right: usize, bottom: usize, colour: Colour) {
        let (right, bottom) = (right.min(self.width), bottom.min(self.height));
        for row in top..bottom {
            let line = self.rgb.get_mut((row * self.width + left) * 3..(row * self.width + right) * 3);
            line.unwrap_or_default().as_chunks_mut::<3>().0.fill(colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CameraId, FrameRef, FrameSeq, Stamp};

    fn grey(width: u32, height: u32) -> Frame {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        let rgb = vec![90; (width * height * 3) as usize];
        Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb).unwrap()
    }

    fn drawn(width: u32, height: u32, rect: NormRect, text: &str) -> Canvas {
        let mut canvas = Canvas::of(&grey(width, height));
        canvas.draw(&Mark { rect, text: text.to_owned() });
        canvas
    }

    fn count(canvas: &Canvas, colour: Colour) -> usize {
        canvas.rgb.as_chunks::<3>().0.iter().filter(|pixel| **pixel == colour).count()
    }

    #[test]
    fn the_box_stands_around_the_region_and_leaves_its_inside_alone() {
        let rect = NormRect::new(0.25, 0.5, 0.75, 1.0).unwrap();
        let canvas = drawn(480, 480, rect, "person 0.97");
        let pixel = |x: usize, y: usize| &canvas.rgb[(y * 480 + x) * 3..][..3];
        assert_eq!((pixel(120, 300), pixel(240, 240), pixel(359, 479)), (&BOX[..], &BOX[..], &BOX[..]));
        assert_eq!((pixel(240, 360), pixel(20, 20)), (&[90; 3][..], &[90; 3][..]));
        assert!(count(&canvas, TEXT) > 11 * 8, "no text");
    }

    #[test]
    fn text_is_drawn_in_pictures_of_any_size_and_never_outside() {
        for (width, height) in [(1, 1), (3, 200), (16, 16), (1920, 1080)] {
            for rect in [NormRect::FULL, NormRect::new(0.9, 0.0, 1.0, 0.1).unwrap()] {
                let canvas = drawn(width, height, rect, "a very long label with ü and \u{7} 0.50");
                assert_eq!(canvas.rgb.len(), (width * height * 3) as usize);
                assert!(count(&canvas, BOX) > 0);
            }
        }
        let other = drawn(400, 100, NormRect::FULL, "cat");
        assert_ne!(drawn(400, 100, NormRect::FULL, "dog").rgb, other.rgb);
    }
}
