//! Every kernel, in every form that this processor has, against its definition in 64-bit floats.
//!
//! The tolerance is what rounding each product and each sum once in 32 bits can amount to (Higham 2002, section 3.1):
//! the number of operations times half a unit of the last place times the sum of all magnitudes.

use proptest::prelude::*;

use super::*;
use crate::tests::{CASES, CHANNELS};
use crate::{Plane, Window};

/// Numbers between -1 and 1 that look random and are the same every time.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

const RELU: Ramp = Ramp { low: 0.0, ..Ramp::NONE };
const HARD_SIGMOID: Ramp = Ramp { gate: false, ..Ramp::HARD_SWISH };

fn ramp() -> impl Strategy<Value = Ramp> {
    prop::sample::select(vec![Ramp::NONE, RELU, HARD_SIGMOID, Ramp::HARD_SWISH])
}

/// The activation by its definition.
fn activated(ramp: Ramp, x: f64) -> f64 {
    let line = f64::from(ramp.slope) * x + f64::from(ramp.offset);
    let y = line.clamp(f64::from(ramp.low), f64::from(ramp.high));
    if ramp.gate { x * y } else { y }
}

/// Size and step of a window.
type Form = ((usize, usize), (usize, usize));

fn any_form() -> impl Strategy<Value = Form> {
    ((1usize..6, 1usize..6), (1usize..3, 1usize..3))
}

/// Those that the depthwise kernel has loops of its own for.
fn square_form() -> impl Strategy<Value = Form> {
    (prop::sample::select(vec![3, 5]), 1usize..3).prop_map(|(size, step)| ((size, size), (step, step)))
}

prop_compose! {
    fn window(most: usize, wide: usize, form: impl Strategy<Value = Form>)(
        out in (1usize..9, 1..wide), (size, step) in form,
        border in (0usize..3, 0usize..3, 0usize..3, 0usize..3), channels in (1usize..most, 1usize..most),
    ) -> Window {
        let before = (border.0.min(size.0 - 1), border.1.min(size.1 - 1));
        let after = (border.2.min(size.0 - 1), border.3.min(size.1 - 1));
        let side = |out: usize, step: usize, size: usize, border: usize| {
            // A window sees one pixel at least.
            ((out - 1) * step + size).saturating_sub(border).max((out - 1) * step + 1)
        };
        let input = Plane {
            height: side(out.0, step.0, size.0, before.0 + after.0),
            width: side(out.1, step.1, size.1, before.1 + after.1),
            channels: channels.0,
        };
        let output = Plane { height: out.0, width: out.1, channels: channels.1 };
        Window { input, output, size, step, before }
    }
}

/// Output `channel` at `y`, `x` of a convolution by its definition, and how far from it rounding may lead.
/// `input` is asked for (channel, row, column), `weight` for (channel, row, column) of the window.
fn defined(
    window: &Window,
    ramp: Ramp,
    (y, x): (usize, usize),
    bias: f32,
    input: impl Fn(usize, usize, usize) -> f32,
    weight: impl Fn(usize, usize, usize) -> Option<f32>,
) -> (f64, f64) {
    let (mut sum, mut magnitude, mut count) = (f64::from(bias), f64::from(bias.abs()), 1.0);
    for channel in 0..window.input.channels {
        for (down, along) in (0..window.size.0).flat_map(|d| (0..window.size.1).map(move |a| (d, a))) {
            let inside =
                |at: usize, before: usize, side: usize| at.checked_sub(before).filter(|at| *at < side);
            let row = inside(y * window.step.0 + down, window.before.0, window.input.height);
            let column = inside(x * window.step.1 + along, window.before.1, window.input.width);
            let (Some(row), Some(column), Some(w)) = (row, column, weight(channel, down, along)) else {
                continue;
            };
            let product = f64::from(input(channel, row, column)) * f64::from(w);
            (sum, magnitude, count) = (sum + product, magnitude + product.abs(), count + 2.0);
        }
    }
    // No activation here is steeper than 3/2; it rounds three times itself.
    let y = activated(ramp, sum);
    (y, 1.5 * (count + 3.0) * f64::from(f32::EPSILON) / 2.0 * (magnitude + 1.0))
}

/// Runs it on two pictures with every form that this processor has, into memory that holds other things, and compares every channel.
fn check(
    plane: Plane,
    run: impl Fn(Simd, &mut [f32]),
    expected: impl Fn(usize, usize, usize, usize) -> (f64, f64),
) -> Result<(), TestCaseError> {
    for simd in Simd::all() {
        let mut output = vec![f32::NAN; 2 * len(&plane)];
        run(simd, &mut output);
        for (pixel, found) in output.chunks_exact(stride(plane.channels)).enumerate() {
            let (picture, pixel) = (pixel / plane.pixels(), pixel % plane.pixels());
            let (y, x) = (pixel / plane.width, pixel % plane.width);
            prop_assert!(found.iter().all(|v| v.is_finite()), "padding is no number: {found:?}");
            for (channel, found) in found[..plane.channels].iter().enumerate() {
                let (expected, tolerance) = expected(picture, channel, y, x);
                let off = (f64::from(*found) - expected).abs();
                prop_assert!(off <= tolerance, "{simd:?}: {found} at {channel} {y} {x}, not {expected}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn dense_is_what_its_definition_says(
        window in window(CHANNELS * 2 / 3, 9, any_form()), ramp in ramp(), planes: bool, seed in 0u64..1 << 40,
    ) {
        let Window { input: plane, output: out, size, .. } = window;
        let depth = size.0 * size.1 * plane.channels;
        let (weights, bias) = (noise(seed, depth * out.channels), noise(seed + 1, out.channels));
        let source = if planes { Source::Planes } else { Source::Pixels };
        let each = if planes { plane.pixels() * plane.channels } else { len(&plane) };
        let input = noise(seed + 2, 2 * each);
        let run = |simd: Simd, output: &mut [f32]| {
            let op = Convolution::dense(simd, window, source, &weights, &bias).unwrap();
            op.with_ramp(ramp).run(&input, output);
        };
        check(out, run, |picture, o, y, x| {
            let at = |c: usize, row: usize, column: usize| {
                let pixel = row * plane.width + column;
                let at = if planes { c * plane.pixels() + pixel } else { pixel * stride(plane.channels) + c };
                input[picture * each + at]
            };
            let weight = |c: usize, d: usize, a: usize| Some(weights[o * depth + (c * size.0 + d) * size.1 + a]);
            defined(&window, ramp, (y, x), bias[o], at, weight)
        })?;
    }

    #[test]
    fn depthwise_is_what_its_definition_says(
        mut window in window(CHANNELS * 7 / 9, 20, prop_oneof![any_form(), square_form()]), ramp in ramp(), seed in 0u64..1 << 40,
    ) {
        window.output.channels = window.input.channels;
        let Window { input: plane, output: out, size, .. } = window;
        let taps = size.0 * size.1;
        let (weights, bias) = (noise(seed, taps * out.channels), noise(seed + 1, out.channels));
        let input = noise(seed + 2, 2 * len(&plane));
        let run = |simd: Simd, output: &mut [f32]| {
            let op = Convolution::depthwise(simd, window, &weights, &bias).unwrap();
            op.with_ramp(ramp).run(&input, output);
        };
        check(out, run, |picture, o, y, x| {
            let at = |c: usize, row: usize, column: usize| {
                input[picture * len(&plane) + (row * plane.width + column) * stride(plane.channels) + c]
            };
            let weight = |c: usize, d: usize, a: usize| (c == o).then(|| weights[o * taps + d * size.1 + a]);
            defined(&window, ramp, (y, x), bias[o], at, weight)
        })?;
    }

    #[test]
    fn the_loops_do_what_they_say(
        width in 1usize..40, channels in 1..CHANNELS / 2, ramp in ramp(), seed in 0u64..1 << 40,
    ) {
        let plane = Plane { height: 2, width, channels };
        let padded = stride(channels);
        let (a, b) = (noise(seed, 2 * len(&plane)), noise(seed + 1, 2 * len(&plane)));
        let at = |picture: usize, y: usize, x: usize, c: usize| {
            picture * len(&plane) + (y * width + x) * padded + c
        };
        let close = |value: f64| (activated(ramp, value), 1e-6);
        check(plane, |simd, output| add(simd, ramp, &a, &b, output), |picture, c, y, x| {
            let i = at(picture, y, x, c);
            close(f64::from(a[i]) + f64::from(b[i]))
        })?;
        check(plane, |simd, output| gate(simd, ramp, &a, &b[..padded], output), |picture, c, y, x| {
            close(f64::from(a[at(picture, y, x, c)]) * f64::from(b[c]))
        })?;
        let one = Plane { height: 1, width: 1, channels };
        let run = |simd: Simd, output: &mut [f32]| {
            for (picture, output) in a.chunks_exact(len(&plane)).zip(output.chunks_exact_mut(padded)) {
                average(simd, picture, output);
            }
        };
        check(one, run, |picture, c, _, _| {
            let pixels = (0..2).flat_map(|y| (0..width).map(move |x| (y, x)));
            let sum: f64 = pixels.map(|(y, x)| f64::from(a[at(picture, y, x, c)])).sum();
            (sum / (2 * width) as f64, 1e-5)
        })?;
    }

    #[test]
    fn planes_come_back_as_they_were(width in 1usize..20, channels in 1usize..30, seed in 0u64..1 << 40) {
        let plane = Plane { height: 3, width, channels };
        let planes = noise(seed, plane.pixels() * channels);
        let (mut pixels, mut back) = (vec![0.0; len(&plane)], vec![0.0; planes.len()]);
        from_planes(&plane, &planes, &mut pixels);
        to_planes(&plane, &pixels, &mut back);
        prop_assert_eq!(planes, back);
    }
}

#[test]
fn what_is_no_number_stays_so() {
    let plane = Plane { height: 1, width: 1, channels: 1 };
    for simd in Simd::all() {
        let mut output = [0.0; 8];
        add(simd, RELU, &[f32::NAN; 8], &[1.0; 8], &mut output);
        assert!(output.iter().all(|v| v.is_nan()), "{simd:?}: {output:?}, {plane:?}");
    }
}

#[test]
fn ramps_are_built_from_their_parts() {
    // HardSigmoid and HardSwish as networks spell them out: min and max, scaled and shifted.
    let spelt = Ramp::NONE.plus(3.0).and_then(|r| r.at_least(0.0)).and_then(|r| r.at_most(6.0)).unwrap();
    let spelt = spelt.times(1.0 / 6.0).unwrap();
    let swish = spelt.gating().unwrap();
    for x in [-5.0, -3.0, -1.5, 0.0, 2.0, 3.0, 9.0] {
        assert!((activated(spelt, x) - activated(HARD_SIGMOID, x)).abs() < 1e-6, "{x}");
        assert!((activated(swish, x) - activated(Ramp::HARD_SWISH, x)).abs() < 1e-6, "{x}");
    }
    assert_eq!(Ramp::NONE.times(-1.0), None, "a falling line is none");
    assert_eq!(swish.plus(1.0), None, "nothing stands behind a gate");
}

#[test]
fn what_does_not_fit_is_refused() {
    let plane = Plane { height: 4, width: 4, channels: 8 };
    let window = Window { input: plane, output: plane, size: (1, 1), step: (1, 1), before: (0, 0) };
    assert!(Convolution::dense(Simd::best(), window, Source::Pixels, &[1.0; 63], &[0.0; 8]).is_none());
    assert!(Convolution::dense(Simd::best(), window, Source::Pixels, &[1.0; 64], &[0.0; 7]).is_none());
    assert!(Convolution::depthwise(Simd::best(), window, &[1.0; 7], &[0.0; 8]).is_none());
    let beyond = Window { before: (1, 1), ..window };
    assert!(
        Convolution::depthwise(Simd::best(), beyond, &[1.0; 8], &[0.0; 8]).is_none(),
        "a window that sees nothing"
    );
}
