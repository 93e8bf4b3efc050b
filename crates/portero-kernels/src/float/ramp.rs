//! Activations behind a kernel: a straight line between two bounds, and that times the value itself.

use super::vector::Vector;

/// `clamp(slope * x + offset, low, high)`, times `x` if it is a gate. With these come Relu, Relu6, HardSigmoid,
/// HardSwish, and no activation at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Above 0.
    pub slope: f32,
    /// Added behind the slope.
    pub offset: f32,
    /// Not above `high`; may be infinite.
    pub low: f32,
    /// May be infinite.
    pub high: f32,
    /// Whether `x` is multiplied by what results.
    pub gate: bool,
}

impl Ramp {
    /// What changes nothing.
    pub const NONE: Self =
        Self { slope: 1.0, offset: 0.0, low: f32::NEG_INFINITY, high: f32::INFINITY, gate: false };

    /// `x * clamp(x / 6 + 1 / 2, 0, 1)`.
    pub const HARD_SWISH: Self = Self { slope: 1.0 / 6.0, offset: 0.5, low: 0.0, high: 1.0, gate: true };

    /// This, and then the result times `factor`, which is above 0 and finite.
    #[must_use]
    pub fn times(self, factor: f32) -> Option<Self> {
        let fits = factor.is_finite() && factor > 0.0;
        fits.then_some(Self {
            slope: self.slope * factor,
            offset: self.offset * factor,
            low: self.low * factor,
            high: self.high * factor,
            gate: self.gate,
        })
    }

    /// This, and then `summand` added, which is finite.
    #[must_use]
    pub fn plus(self, summand: f32) -> Option<Self> {
        let fits = summand.is_finite() && !self.gate;
        fits.then_some(Self {
            offset: self.offset + summand,
            low: self.low + summand,
            high: self.high + summand,
            ..self
        })
    }

    /// This, and then no less than `bound`.
    #[must_use]
    pub fn at_least(self, bound: f32) -> Option<Self> {
        let fits = !bound.is_nan() && !self.gate;
        fits.then_some(Self { low: self.low.max(bound), high: self.high.max(bound), ..self })
    }

    /// This, and then no more than `bound`.
    #[must_use]
    pub fn at_most(self, bound: f32) -> Option<Self> {
        let fits = !bound.is_nan() && !self.gate;
        fits.then_some(Self { low: self.low.min(bound), high: self.high.min(bound), ..self })
    }

    /// `x` times this of `x`.
    #[must_use]
    pub fn gating(self) -> Option<Self> {
        (!self.gate).then_some(Self { gate: true, ..self })
    }

    /// In registers.
    #[inline(always)]
    pub(super) fn load<V: Vector>(&self, v: V) -> Loaded<V> {
        Loaded {
            ramp: *self,
            bounded: (self.low > f32::NEG_INFINITY, self.high < f32::INFINITY),
            straight: self.slope != 1.0 || self.offset != 0.0,
            slope: v.splat(self.slope),
            offset: v.splat(self.offset),
            low: v.splat(self.low),
            high: v.splat(self.high),
        }
    }
}

/// A ramp in registers.
#[derive(Clone, Copy)]
pub(super) struct Loaded<V: Vector> {
    ramp: Ramp,
    straight: bool,
    /// Below, above.
    bounded: (bool, bool),
    slope: V::Register,
    offset: V::Register,
    low: V::Register,
    high: V::Register,
}

impl<V: Vector> Loaded<V> {
    /// The ramp of a register.
    #[inline(always)]
    pub(super) fn of(&self, v: V, x: V::Register) -> V::Register {
        let mut y = x;
        if self.straight {
            y = v.multiply_add(x, self.slope, self.offset);
        }
        if self.bounded.0 {
            y = v.at_least(y, self.low);
        }
        if self.bounded.1 {
            y = v.at_most(y, self.high);
        }
        if self.ramp.gate { v.multiply(x, y) } else { y }
    }
}
