//! Every kernel against its definition, in every form that this processor runs, bit for bit.

use proptest::prelude::*;

use super::*;

/// Bytes that look random and are the same every time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Weights. Every second seed gives none that is -128: some kernels then go another way.
fn signed(seed: u64, len: usize) -> Vec<i8> {
    let least = if seed.is_multiple_of(2) { -127 } else { -128 };
    noise(seed, len).into_iter().map(|b| (b as i8).max(least)).collect()
}

/// A requantisation whose bytes spread over the whole range, and beyond it on both sides.
fn requant(seed: u64, channels: usize, depth: usize, table: bool) -> Requant {
    let raw = noise(seed, channels * 3);
    let reach = 40.0 * 74.0 * (depth as f32).sqrt();
    let bias: Vec<i32> = raw[..channels].iter().map(|b| (i32::from(*b) - 128) * 100).collect();
    let scale: Vec<f32> =
        raw[channels..][..channels].iter().map(|b| (f32::from(*b) + 16.0) / reach).collect();
    let requant = Requant::new(&bias, &scale, raw[0]).unwrap();
    if table { requant.with_table(Table::new(noise(seed + 1, 256).try_into().unwrap())) } else { requant }
}

/// Random shapes that a test tries, and how many channels these have. Miri is ten thousand times slower than a processor.
pub(super) const CASES: u32 = if cfg!(miri) { 2 } else { 96 };
pub(super) const CHANNELS: usize = if cfg!(miri) { 12 } else { 90 };

/// What a test convolves.
#[derive(Debug, Clone)]
struct Case {
    window: Window,
    zero: u8,
    seed: u64,
    table: bool,
}

prop_compose! {
    fn case(most: usize)(
        out in (1usize..9, 1usize..9), size in (1usize..6, 1usize..6), step in (1usize..3, 1usize..3),
        border in (0usize..3, 0usize..3, 0usize..3, 0usize..3), channels in (1usize..most, 1usize..most),
        zero: u8, seed in 0u64..1 << 40, table: bool,
    ) -> Case {
        let before = (border.0.min(size.0 - 1), border.1.min(size.1 - 1));
        let after = (border.2.min(size.0 - 1), border.3.min(size.1 - 1));
        let side = |out: usize, step: usize, size: usize, border: usize| {
            ((out - 1) * step + size).saturating_sub(border).max(1)
        };
        let input = Plane {
            height: side(out.0, step.0, size.0, before.0 + after.0),
            width: side(out.1, step.1, size.1, before.1 + after.1),
            channels: channels.0,
        };
        let output = Plane { height: out.0, width: out.1, channels: channels.1 };
        Case { window: Window { input, output, size, step, before }, zero, seed, table }
    }
}

/// The byte at `y`, `x` counted from the border's corner, or the zero point.
fn pixel(case: &Case, input: &[u8], y: usize, x: usize, channel: usize) -> i32 {
    let plane = case.window.input;
    let inside = |at: usize, before: usize, side: usize| at.checked_sub(before).filter(|at| *at < side);
    let at = inside(y, case.window.before.0, plane.height).zip(inside(x, case.window.before.1, plane.width));
    i32::from(at.map_or(case.zero, |(y, x)| input[(y * plane.width + x) * plane.stride() + channel]))
        - i32::from(case.zero)
}

/// A convolution of pictures by its definition: `weight` is asked for (output, row, column, input) and gives `None` where the
/// two channels do not meet.
fn defined(
    case: &Case,
    requant: &Requant,
    input: &[u8],
    weight: impl Fn(usize, usize, usize, usize) -> Option<i8>,
) -> Vec<u8> {
    let Window { input: plane, output: out, size, step, .. } = case.window;
    let mut bytes = vec![0; input.len() / plane.bytes() * out.bytes()];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let input = &input[at / out.bytes() * plane.bytes()..][..plane.bytes()];
        let (pixel_at, channel) = (at % out.bytes() / out.stride(), at % out.stride());
        let (y, x) = (pixel_at / out.width, pixel_at % out.width);
        let mut sum = 0;
        for (down, along) in (0..size.0).flat_map(|d| (0..size.1).map(move |a| (d, a))) {
            for c in 0..plane.channels {
                if let Some(w) = weight(channel, down, along, c).filter(|_| channel < out.channels) {
                    sum += pixel(case, input, y * step.0 + down, x * step.1 + along, c) * i32::from(w);
                }
            }
        }
        *byte = requant.finish(sum, channel);
    }
    bytes
}

/// What each form that runs here writes into `len` bytes.
fn each(run: impl Fn(Isa, &mut [u8]), len: usize) -> Vec<Vec<u8>> {
    let run = |isa| {
        let mut output = vec![0xAA; len];
        run(isa, &mut output);
        output
    };
    Isa::all().into_iter().map(run).collect()
}

/// Whether all forms wrote the same.
fn one_answer(found: &[Vec<u8>]) -> bool {
    found.iter().all(|output| output == &found[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn dense_is_what_its_definition_says(case in case(CHANNELS)) {
        let Window { input: plane, output: out, size, .. } = case.window;
        let depth = size.0 * size.1 * plane.channels;
        let weights = signed(case.seed, depth * out.channels);
        let requant = requant(case.seed + 2, out.channels, depth, case.table);
        let input = noise(case.seed + 3, 3 * plane.bytes());
        let expected = defined(&case, &requant, &input, |o, down, along, c| {
            weights.get(o * depth + (c * size.0 + down) * size.1 + along).copied()
        });
        let run = |isa, output: &mut [u8]| {
            let op = Convolution::dense(isa, case.window, case.zero, &weights, requant.clone()).unwrap();
            op.run(&input, output);
        };
        for found in each(run, 3 * out.bytes()) {
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn depthwise_is_what_its_definition_says(mut case in case(CHANNELS * 7 / 9)) {
        case.window.input.channels += 4;
        case.window.output.channels = case.window.input.channels;
        let Window { input: plane, output: out, size, .. } = case.window;
        let taps = size.0 * size.1;
        let weights = signed(case.seed, taps * out.channels);
        let requant = requant(case.seed + 2, out.channels, taps, case.table);
        let input = noise(case.seed + 3, 3 * plane.bytes());
        let expected = defined(&case, &requant, &input, |o, down, along, c| {
            weights.get(o * taps + down * size.1 + along).copied().filter(|_| o == c)
        });
        let run = |isa, output: &mut [u8]| {
            let op = Convolution::depthwise(isa, case.window, case.zero, &weights, requant.clone()).unwrap();
            op.run(&input, output);
        };
        for found in each(run, 3 * out.bytes()) {
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn the_loops_give_one_answer_on_every_processor(
        pixels in 1..CHANNELS * 2, channels in 5..CHANNELS, zeros: [u8; 3], seed in 0u64..1 << 40, scale in 0.001f32..4.0,
    ) {
        let plane = Plane { height: 1, width: pixels, channels };
        let (a, b) = (noise(seed, plane.bytes()), noise(seed + 1, plane.bytes()));
        let residual = Residual { sides: [(scale, zeros[0]), (1.0 / scale, zeros[1])], zero: zeros[2] };
        prop_assert!(one_answer(&each(|isa, out| residual.run(isa, &a, &b, out), plane.bytes())));
        let gate = Gate { scale: scale / 100.0, zeros };
        prop_assert!(one_answer(&each(|isa, out| gate.run(isa, &a, &b[..plane.stride()], out), plane.bytes())));
        let average = Average { scale, zeros: [zeros[0], zeros[1]] };
        prop_assert!(one_answer(&each(|isa, out| average.run(isa, &a, out), plane.stride())));
        let floats: Vec<f32> = a[..pixels * channels].iter().map(|b| (f32::from(*b) - 120.0) / 37.0).collect();
        prop_assert!(one_answer(&each(|isa, out| quantise(isa, &plane, scale, zeros[0], &floats, out), plane.bytes())));
    }

    #[test]
    fn rows_are_blended_by_the_definition(
        outputs in 1usize..270, gap in 0usize..9, count in 1usize..20, shift in 1u32..23, seed in 0u64..1 << 40,
    ) {
        let step = outputs + gap;
        let rows = noise(seed, (count - 1) * step + outputs);
        let any = noise(seed + 1, 2 * count);
        // Weights of every size, and of both signs; small ones so that not every sum is cut off.
        let raw = any.as_chunks::<2>().0.iter().map(|b| i32::from(i16::from_le_bytes(*b)));
        let limit = (1 << (shift + 1)) / count as i32;
        let weights: Vec<i16> = raw.map(|w| w.clamp(-limit, limit) as i16).collect();
        let by_definition = |i: usize| {
            let sum: i64 = (0..count).map(|k| i64::from(rows[k * step + i]) * i64::from(weights[k])).sum();
            ((sum + (1 << (shift - 1))) >> shift).clamp(0, 255) as u8
        };
        let expected: Vec<u8> = (0..outputs).map(by_definition).collect();
        for found in each(|isa, out| blend(isa, &rows, step, &weights, shift, out), outputs) {
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn rows_become_columns(width in 1usize..5, height in 1usize..5, seed in 0u64..1 << 40) {
        let (width, height) = (width * SIDE, height * SIDE);
        let picture = noise(seed, width * height);
        let expected: Vec<u8> = (0..width * height).map(|i| picture[i % height * width + i / height]).collect();
        for found in each(|isa, out| turn(isa, width, &picture, out), width * height) {
            prop_assert!(found == expected);
        }
    }
}

/// The largest sums there are, which would saturate in 16 bits: 255 above the zero point, or as much below, times the
/// ends of the weights, in every place.
#[test]
#[cfg_attr(miri, ignore = "half a million products, and no address that the others have not")]
fn extreme_sums_do_not_saturate() {
    let cases =
        [(-128, 255, 0, 0), (127, 255, 0, 255), (-128, 0, 255, 255), (-127, 0, 255, 255), (127, 0, 255, 0)];
    for (weight, value, zero, byte) in cases {
        let plane = Plane { height: 1, width: 7, channels: 1024 };
        let output = Plane { channels: 16, ..plane };
        let window = Window { input: plane, output, size: (1, 1), step: (1, 1), before: (0, 0) };
        let requant = Requant::new(&[0; 16], &[1.0 / (255.0 * 128.0 * 1024.0) * 200.0; 16], 128).unwrap();
        let run = |isa, out: &mut [u8]| {
            let op =
                Convolution::dense(isa, window, zero, &vec![weight; 16 * 1024], requant.clone()).unwrap();
            op.run(&vec![value; plane.bytes()], out);
        };
        for found in each(run, output.bytes()) {
            assert_eq!(found, vec![byte; output.bytes()]);
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_even_and_stops_at_the_ends() {
    let cases =
        [(0.5, 0, 0), (1.5, 0, 2), (2.5, 0, 2), (-0.5, 3, 3), (-1.5, 3, 1), (1e30, 7, 255), (-1e30, 7, 0)];
    for (value, zero, expected) in cases {
        assert_eq!(requant::byte(value, zero), expected, "{value} + {zero}");
    }
}

#[test]
fn the_loops_do_what_they_say() {
    let isa = Isa::best();
    let plane = Plane { height: 1, width: 2, channels: 5 };
    let mut out = vec![0; plane.bytes()];
    // (12 - 10) * 3 * 0.5 + 1 = 4.
    let gate = Gate { scale: 0.5, zeros: [10, 0, 1] };
    gate.run(isa, &vec![12; plane.bytes()], &[3; 16], &mut out);
    assert_eq!(out, vec![4; plane.bytes()]);
    // (12 - 10) * 2 + (5 - 6) * 3 + 7 = 8.
    let residual = Residual { sides: [(2.0, 10), (3.0, 6)], zero: 7 };
    residual.run(isa, &vec![12; plane.bytes()], &vec![5; plane.bytes()], &mut out);
    assert_eq!(out, vec![8; plane.bytes()]);
    // ((10 + 20) / 2 - 5) * 0.3 + 2 = 5.
    let input: Vec<u8> = [[10; 16], [20; 16]].concat();
    Average { scale: 0.3, zeros: [5, 2] }.run(isa, &input, &mut out[..16]);
    assert_eq!(out[..16], [5; 16]);
}

#[test]
fn floats_come_back_as_they_were_within_half_a_step() {
    let plane = Plane { height: 3, width: 5, channels: 3 };
    let floats: Vec<f32> = (0..45).map(|i| (i as f32 - 20.0) / 11.0).collect();
    let mut bytes = vec![0; plane.bytes()];
    quantise(Isa::best(), &plane, 0.02, 100, &floats, &mut bytes);
    assert_eq!(bytes[3], 100, "padding holds the zero point");
    let mut back = vec![0.0; 45];
    dequantise(&plane, 0.02, 100, &bytes, &mut back);
    for (a, b) in floats.iter().zip(&back) {
        assert!((a - b).abs() <= 0.0101, "{a} became {b}");
    }
}

#[test]
fn tables_follow_one_another() {
    let half = Table::new(std::array::from_fn(|i| i as u8 / 2));
    let next = Table::new(std::array::from_fn(|i| (i as u8).wrapping_add(1)));
    let requant = Requant::new(&[0], &[1.0], 0).unwrap().with_table(half).with_table(next);
    assert_eq!(requant.finish(200, 0), 101);
}

#[test]
fn what_does_not_fit_is_refused() {
    let plane = Plane { height: 4, width: 4, channels: 8 };
    let window = Window { input: plane, output: plane, size: (1, 1), step: (1, 1), before: (0, 0) };
    let requant = |n: usize| Requant::new(&vec![0; n], &vec![1.0; n], 0).unwrap();
    assert!(Convolution::dense(Isa::PORTABLE, window, 0, &[1; 63], requant(8)).is_none());
    assert!(Convolution::dense(Isa::PORTABLE, window, 0, &[1; 64], requant(7)).is_none());
    assert!(Convolution::depthwise(Isa::PORTABLE, window, 0, &[1; 7], requant(8)).is_none());
    assert!(Requant::new(&[0], &[f32::NAN], 0).is_none());
    assert!(Requant::new(&[0], &[0.0], 0).is_none());
}

#[test]
fn a_window_that_no_kernel_could_run_over_is_refused() {
    let plane = |height, width, channels| Plane { height, width, channels };
    let good =
        Window { input: plane(4, 4, 8), output: plane(4, 4, 8), size: (1, 1), step: (1, 1), before: (0, 0) };
    let wrong = [
        Window { output: plane(5, 4, 8), ..good },
        Window { output: plane(0, 4, 8), ..good },
        Window { input: plane(4, 0, 8), ..good },
        Window { size: (0, 1), ..good },
        Window { step: (1, 0), ..good },
        Window { before: (usize::MAX, 0), ..good },
        Window { input: plane(1 << 20, 1 << 20, 1 << 20), output: plane(1 << 20, 1 << 20, 8), ..good },
        Window { output: plane(usize::MAX, usize::MAX, 8), step: (1 << 20, 1 << 20), ..good },
    ];
    let dense = |window: Window| {
        let requant = Requant::new(&[0; 8], &[1.0; 8], 0)?;
        Convolution::dense(Isa::best(), window, 0, &[1; 64], requant)
    };
    let floats = |window: Window| {
        let simd = float::Simd::best();
        let dense = float::Convolution::dense(simd, window, float::Source::Pixels, &[1.0; 64], &[0.0; 8]);
        dense.or_else(|| float::Convolution::depthwise(simd, window, &[1.0; 8], &[0.0; 8]))
    };
    assert!(dense(good).is_some() && floats(good).is_some());
    for window in wrong {
        assert_eq!((dense(window), floats(window)), (None, None), "{window:?}");
    }
}
