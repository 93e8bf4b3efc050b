//! What a camera's picture costs until the model can have it: decoded and resized to 224x224. Motion JPEG beside what one
//! writes with the `image` crate alone.

use std::hint::black_box;

use criterion::Criterion;
use image::DynamicImage;
use image::codecs::jpeg::JpegDecoder;
use image::imageops::FilterType;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use portero::capture::{Encoded, PixelFormat};
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero::infer::{Channels, Input, Preprocessor, Resize};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

/// What most models ask for.
pub(crate) fn input() -> Input {
    Input {
        width: 224,
        height: 224,
        channels: Channels::Rgb,
        resize: Resize::Stretch,
        mean: [127.5; 3],
        std: [127.5; 3],
    }
}

/// Adds the measurements to `c`.
pub(crate) fn bench(c: &mut Criterion) {
    let jpeg = street();
    let mut preprocessor = Preprocessor::new(input());
    let mut planes = vec![0.0; preprocessor.len()];
    let mut ours = |encoded: Encoded| {
        let picture = encoded.decode().expect("it decodes");
        let at = FrameRef::new(FrameSeq(1), Stamp::new(1, 0));
        let camera = CameraId::new("bench").expect("a name");
        let frame = Frame::new(camera, at, picture.width, picture.height, picture.pixels).expect("it fits");
        preprocessor.fill(&frame, NormRect::FULL, &mut planes);
        planes[0]
    };
    let name = format!("decode/mjpeg {WIDTH}x{HEIGHT}, {} KB", jpeg.len() / 1000);
    c.bench_function(&name, |b| b.iter(|| ours(Encoded::jpeg(black_box(&jpeg).clone()))));
    let yuyv: Vec<u8> = (0..WIDTH * HEIGHT * 2).map(|i| (i * 7 % 251) as u8).collect();
    c.bench_function(&format!("decode/yuyv {WIDTH}x{HEIGHT}"), |b| {
        b.iter(|| ours(Encoded::raw(PixelFormat::Yuyv, WIDTH, HEIGHT, black_box(&yuyv).clone())));
    });
    c.bench_function(&format!("{name}, image crate"), |b| {
        b.iter(|| {
            let decoder = JpegDecoder::new(std::io::Cursor::new(black_box(&jpeg))).expect("a head");
            let small = DynamicImage::from_decoder(decoder).expect("it decodes").resize_exact(
                224,
                224,
                FilterType::Triangle,
            );
            small.into_rgb8().into_raw().into_iter().map(|byte| f32::from(byte) / 127.5 - 1.0).sum::<f32>()
        });
    });
}

/// A street as a webcam sends it: half the chroma each way, with a sensor's noise, about 110 KB.
fn street() -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/golden/street-dark.png");
    let mut street =
        image::open(path).expect("it reads").resize_exact(WIDTH, HEIGHT, FilterType::CatmullRom).into_rgb8();
    let mut random = 1u32;
    for byte in street.iter_mut() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = byte.saturating_add((random >> 28) as u8);
    }
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 80);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&street, WIDTH as u16, HEIGHT as u16, ColorType::Rgb).expect("it encodes");
    jpeg
}
