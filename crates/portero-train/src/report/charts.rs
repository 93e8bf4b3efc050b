//! Line charts as inline SVG: no script, no font, no file beside the page.

use std::fmt::Write as _;

/// A line.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
    /// Index into [`COLOURS`].
    pub(super) colour: usize,
    pub(super) dots: bool,
}

/// A chart with both axes.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) series: Vec<Series<'a>>,
    /// Draws the line from corner to corner: chance, or perfect calibration.
    pub(super) diagonal: bool,
}

/// One axis.
pub(super) struct Axis<'a> {
    pub(super) name: &'a str,
    pub(super) range: (f64, f64),
}

/// Told apart also by readers who do not tell red from green (Okabe, Ito 2008).
pub(super) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c5c5c", "#8a6d00"];

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// Replaces what HTML would take for markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The steps between ticks: 1, 2 or 5 times a power of ten, about five of them.
fn tick_step(range: (f64, f64)) -> f64 {
    let rough = (range.1 - range.0) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough * 0.999).unwrap_or(power)
}

fn ticks(range: (f64, f64)) -> Vec<f64> {
    let step = tick_step(range);
    let first = (range.0 / step).ceil() as i64;
    let last = (range.1 / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A range that holds all values, from a round number to a round number.
pub(super) fn range(values: impl Iterator<Item = f64>, from_zero: bool) -> (f64, f64) {
    let (mut low, mut high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if from_zero {
        low = 0.0;
    }
    if high <= low {
        (low, high) = (low - 0.5, low + 0.5);
    }
    let step = tick_step((low, high));
    ((low / step).floor() * step, (high / step).ceil() * step)
}

impl Chart<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        (
            LEFT + share(x, self.x.range) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - share(y, self.y.range) * (HEIGHT - TOP - BOTTOM),
        )
    }

    /// The chart as a `<figure>`.
    pub(super) fn to_html(&self) -> String {
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">",
            escape(self.title)
        );
        self.axes(&mut svg);
        for series in &self.series {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let points: Vec<_> = series.points.iter().map(|p| self.at(*p)).collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            // Writing to a String cannot fail.
            let _ = write!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            if series.dots {
                for (x, y) in points {
                    let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
                }
            }
        }
        svg.push_str("</svg>");
        if self.series.len() > 1 {
            svg.push_str("<p class=\"key\">");
            for series in &self.series {
                let colour = COLOURS[series.colour % COLOURS.len()];
                let name = escape(series.name);
                let _ = write!(svg, "<span><i style=\"background:{colour}\"></i>{name}</span>");
            }
            svg.push_str("</p>");
        }
        svg.push_str("</figure>");
        svg
    }

    fn axes(&self, svg: &mut String) {
        for x in ticks(self.x.range) {
            let (at, bottom) = self.at((x, self.y.range.0));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                number(x)
            );
        }
        for y in ticks(self.y.range) {
            let (left, at) = self.at((self.x.range.0, y));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                left - 6.0,
                at + 4.0,
                number(y)
            );
        }
        if self.diagonal {
            let ((x0, y0), (x1, y1)) =
                (self.at((self.x.range.0, self.y.range.0)), self.at((self.x.range.1, self.y.range.1)));
            let _ = write!(svg, "<path class=\"diagonal\" d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\"/>");
        }
        let (middle_x, middle_y) = ((LEFT + WIDTH - RIGHT) / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        let _ = write!(
            svg,
            "<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{}</text><text transform=\"translate(13 \
             {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            escape(self.x.name),
            escape(self.y.name)
        );
    }
}

/// Without needless zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let found: Vec<String> = ticks((0.0, 1.0)).into_iter().map(number).collect();
        assert_eq!(found, ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        for (values, (low, high)) in [(vec![0.81, 0.934], (0.8, 0.95)), (vec![3.0], (2.4, 3.6))] {
            let found = range(values.iter().copied(), false);
            assert!((found.0 - low).abs() < 1e-9 && (found.1 - high).abs() < 1e-9, "{values:?}: {found:?}");
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<b>&\"x\""), "&lt;b&gt;&amp;&quot;x&quot;");
    }
}
