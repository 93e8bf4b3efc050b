//! Where a thing is, and where it will be: a Kalman filter with constant velocity.
//!
//! The state is that of `SORT` and `ByteTrack`: middle, aspect ratio (width by height) and height, each with its speed.
//! With noise that does not couple them these are four filters of two numbers each, so there is no matrix to
//! invert. Process noise is white acceleration (Bar-Shalom, *Estimation with Applications*, 6.2.2), so that frames
//! need not come at a steady rate.

use crate::domain::NormRect;

/// What a box is off by, as a share of its height.
const BOX_NOISE: f32 = 0.05;
/// How fast something new may be, in heights a second.
const FIRST_SPEED: f32 = 1.0;
/// How much it accelerates, in heights per second and second.
const ACCELERATION: f32 = 1.0;
/// The same of the aspect ratio, which hardly changes: an error, and a change per second.
const ASPECT_NOISE: f32 = 0.1;
const ASPECT_CHANGE: f32 = 0.2;

/// One number and its speed, with their covariance.
#[derive(Debug, Clone, Copy)]
struct Axis {
    value: f32,
    speed: f32,
    /// Variance of the value, covariance, variance of the speed.
    spread: [f32; 3],
}

impl Axis {
    fn new(value: f32, noise: f32, speed_noise: f32) -> Self {
        Self { value, speed: 0.0, spread: [noise * noise, 0.0, speed_noise * speed_noise] }
    }

    /// Moves it on by `dt` seconds under white acceleration of this deviation.
    fn predict(&mut self, dt: f32, acceleration: f32) {
        let [p, c, v] = self.spread;
        let q = acceleration * acceleration;
        self.value += self.speed * dt;
        self.spread = [
            p + 2.0 * dt * c + dt * dt * v + q * dt.powi(3) / 3.0,
            c + dt * v + q * dt * dt / 2.0,
            v + q * dt,
        ];
    }

    /// Takes in a measurement of this deviation.
    fn correct(&mut self, measured: f32, noise: f32) {
        let [p, c, v] = self.spread;
        let sum = (p + noise * noise).max(f32::EPSILON);
        let (gain, speed_gain) = (p / sum, c / sum);
        let off = measured - self.value;
        self.value += gain * off;
        self.speed += speed_gain * off;
        self.spread = [p * (1.0 - gain), c * (1.0 - gain), v - speed_gain * c];
    }
}

/// The filter of one thing.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    x: Axis,
    y: Axis,
    aspect: Axis,
    height: Axis,
}

impl Filter {
    /// Of something first seen at `rect`, its speed unknown.
    pub(super) fn new(rect: &NormRect) -> Self {
        let [x, y, aspect, height] = measures(rect);
        let moving = |value| Axis::new(value, 2.0 * BOX_NOISE * height, FIRST_SPEED * height);
        Self {
            x: moving(x),
            y: moving(y),
            aspect: Axis::new(aspect, ASPECT_NOISE, ASPECT_CHANGE),
            height: Axis::new(height, 2.0 * BOX_NOISE * height, ASPECT_CHANGE * height),
        }
    }

    /// Moves on by `dt` seconds. `seen`: whether it was seen just before; what is out of sight keeps its size.
    pub(super) fn predict(&mut self, dt: f32, seen: bool) {
        if !seen {
            (self.aspect.speed, self.height.speed) = (0.0, 0.0);
        }
        let push = ACCELERATION * self.height.value.abs();
        self.x.predict(dt, push);
        self.y.predict(dt, push);
        self.aspect.predict(dt, ASPECT_CHANGE);
        self.height.predict(dt, ASPECT_CHANGE * self.height.value.abs());
    }

    /// Takes in where it was found.
    pub(super) fn correct(&mut self, rect: &NormRect) {
        let [x, y, aspect, height] = measures(rect);
        self.x.correct(x, BOX_NOISE * height);
        self.y.correct(y, BOX_NOISE * height);
        self.aspect.correct(aspect, ASPECT_NOISE);
        self.height.correct(height, BOX_NOISE * height);
    }

    /// It stands still.
    pub(super) fn rest(&mut self) {
        for axis in [&mut self.x, &mut self.y, &mut self.aspect, &mut self.height] {
            axis.speed = 0.0;
        }
    }

    /// Its box as `[x0, y0, x1, y1]`, which may reach out of the picture.
    pub(super) fn corners(&self) -> [f32; 4] {
        let height = self.height.value.max(1e-4);
        let width = (self.aspect.value * height).max(1e-4);
        let (x, y) = (self.x.value, self.y.value);
        [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
    }
}

/// Middle, aspect ratio and height of a box.
fn measures(rect: &NormRect) -> [f32; 4] {
    let [x0, y0, x1, y1] = rect.corners();
    let (width, height) = (x1 - x0, y1 - y0);
    [(x0 + x1) / 2.0, (y0 + y1) / 2.0, width / height, height]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_a_speed_and_smooths_what_shakes() {
        let at = |x: f32| NormRect::new(x - 0.05, 0.3, x + 0.05, 0.6).unwrap();
        let mut filter = Filter::new(&at(0.1));
        for step in 1..=20 {
            filter.predict(0.1, true);
            // 0.02 a step, shaken by 0.004.
            let shake = if step % 2 == 0 { 0.004 } else { -0.004 };
            filter.correct(&at(0.1 + 0.02 * step as f32 + shake));
        }
        assert!((filter.x.value - 0.5).abs() < 0.004, "{}", filter.x.value);
        assert!((filter.x.speed - 0.2).abs() < 0.04, "{}", filter.x.speed);
        filter.predict(0.5, false);
        let [x0, .., x1, _] = filter.corners();
        assert!(((x0 + x1) / 2.0 - 0.6).abs() < 0.02, "it foretells where the thing will be");
    }
}
