//! Privacy masks: parts of the picture that nobody is to see.

use super::raster::{Run, touched};
use portero_core::domain::{Frame, Polygon};

/// Blacks out its shapes in every frame it is given, before anybody else sees the frame: what is masked is not
/// classified, stored or shown, because it is not there any more.
#[derive(Debug)]
pub struct Mask {
    shapes: Vec<Polygon>,
    size: (u32, u32),
    runs: Vec<Run>,
}

impl Mask {
    /// A mask of these shapes; none leaves the frames as they are.
    #[must_use]
    pub fn new(shapes: Vec<Polygon>) -> Self {
        Self { shapes, size: (0, 0), runs: Vec::new() }
    }

    /// Sets every pixel that a shape touches to black.
    pub fn black_out(&mut self, frame: &mut Frame) {
        if self.shapes.is_empty() {
            return;
        }
        let (width, height) = (frame.width(), frame.height());
        if self.size != (width, height) {
            self.size = (width, height);
            let touched = |shape: &Polygon| touched(shape, width as usize, height as usize);
            self.runs = self.shapes.iter().flat_map(touched).collect();
        }
        for Run { row, columns } in &self.runs {
            frame.black_out(*row, columns.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_core::domain::{CameraId, FrameRef, FrameSeq, NormRect, Stamp};

    fn white(width: u32, height: u32) -> Frame {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        let rgb = vec![255; (width * height * 3) as usize];
        Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb).unwrap()
    }

    #[test]
    fn what_is_masked_is_black_and_the_rest_untouched_in_frames_of_any_size() {
        let shape = NormRect::new(0.5, 0.0, 1.0, 0.5).unwrap();
        let mut mask = Mask::new(vec![shape.into()]);
        for (width, height) in [(8, 4), (6, 6), (641, 479)] {
            let mut frame = white(width, height);
            mask.black_out(&mut frame);
            for (i, pixel) in (0u32..).zip(frame.rgb().as_chunks::<3>().0) {
                let (x, y) = ((i % width) as f32, (i / width) as f32);
                let inside = x + 1.0 > width as f32 * 0.5 && y < height as f32 * 0.5;
                assert_eq!(*pixel, if inside { [0; 3] } else { [255; 3] }, "{x},{y} of {width}x{height}");
            }
        }
    }
}
