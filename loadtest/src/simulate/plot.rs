//! Charts as inline SVG: lines, points and bars, with axes. Colours are classes of the page that they stand in.

use std::fmt::Write as _;

/// Size of a chart, in the units of its view box.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
/// Room around the drawing.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// How a value becomes a place on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// In proportion.
    Linear,
    /// By its logarithm.
    Log,
    /// A share below 1 by how far it is from 1: .9, .99 and .999 at equal distances.
    Nines,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) scale: Scale,
}

/// A named set of points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// The number of its colour class.
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
    /// A text beside each point, if any.
    pub(super) labels: Vec<String>,
    /// Whether points are joined by a line; otherwise each is a dot.
    pub(super) is_line: bool,
    /// Whether the line is broken: for bounds.
    pub(super) is_dashed: bool,
}

impl Axis {
    /// Where `value` lies between the ends, 0 to 1, or a little beyond.
    fn place(&self, value: f64) -> f64 {
        let on = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-9).log10(),
            Scale::Nines => -(1.0 - value).max(1e-9).log10(),
        };
        (on(value) - on(self.from)) / (on(self.to) - on(self.from))
    }

    /// Values worth a line and a number.
    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.to - self.from) / 6.0);
                let first = (self.from / step).ceil() as i64;
                (first..)
                    .map(|at| at as f64 * step)
                    .take_while(|mark| *mark <= self.to + step * 1e-6)
                    .collect()
            }
            Scale::Log => {
                let marks = (-3..7).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
                marks.filter(|mark| (self.from..=self.to).contains(mark)).collect()
            }
            Scale::Nines => {
                let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
                marks
                    .into_iter()
                    .filter(|mark| (self.from..=self.to).contains(mark))
                    .collect()
            }
        }
    }

    fn text(&self, mark: f64) -> String {
        if self.scale == Scale::Nines {
            return format!("{}%", number(mark * 100.0));
        }
        number(mark)
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least)
        .unwrap_or(power)
}

/// As many decimals as it needs.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A chart of lines and points.
pub(super) fn chart(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut svg = open(title);
    frame(&mut svg, x, y);
    for one in series {
        draw(&mut svg, one, x, y);
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar in each group for each name; `values[group][name]`, between 0 and the end of the axis.
pub(super) fn bars(title: &str, groups: &[String], names: &[(String, usize)], values: &[Vec<f64>], y: &Axis) -> String {
    let mut svg = open(title);
    let nothing = Axis {
        title: "",
        from: 0.0,
        to: 1.0,
        scale: Scale::Linear,
    };
    marks_of_y(&mut svg, y);
    let across = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let wide = across * 0.8 / names.len().max(1) as f64;
    for (at, (group, values)) in groups.iter().zip(values).enumerate() {
        let left = LEFT + across * (at as f64 + 0.1);
        for (nth, ((name, colour), value)) in names.iter().zip(values).enumerate() {
            let top = down(y, *value).clamp(TOP, HEIGHT - BOTTOM);
            let (x, height) = (left + wide * nth as f64, HEIGHT - BOTTOM - top);
            let what = format!("{name}, {group}: {}", y.text(*value));
            let _ = write!(
                svg,
                r#"<rect class="c{colour}" x="{x:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}"><title>{}</title></rect>"#,
                wide * 0.92,
                escaped(&what)
            );
        }
        let middle = LEFT + across * (at as f64 + 0.5);
        label(&mut svg, middle, HEIGHT - BOTTOM + 18.0, "middle", group);
    }
    titles(&mut svg, &nothing, y);
    svg.push_str("</svg>\n");
    svg
}

/// The names of series beside their colours.
pub(super) fn legend(names: &[(String, usize, bool)]) -> String {
    let mut html = String::from("<p class=\"legend\">");
    for (name, colour, is_dashed) in names {
        let dashed = if *is_dashed { " dashed" } else { "" };
        let _ = write!(
            html,
            r#"<span><i class="b{colour}{dashed}"></i>{}</span> "#,
            escaped(name)
        );
    }
    html.push_str("</p>\n");
    html
}

/// Text as it may stand in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title)
    )
}

fn along(x: &Axis, value: f64) -> f64 {
    LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn frame(svg: &mut String, x: &Axis, y: &Axis) {
    for mark in x.marks() {
        let at = along(x, mark);
        line(svg, at, TOP, at, HEIGHT - BOTTOM);
        label(svg, at, HEIGHT - BOTTOM + 18.0, "middle", &x.text(mark));
    }
    marks_of_y(svg, y);
    titles(svg, x, y);
}

fn marks_of_y(svg: &mut String, y: &Axis) {
    for mark in y.marks() {
        let at = down(y, mark);
        line(svg, LEFT, at, WIDTH - RIGHT, at);
        label(svg, LEFT - 8.0, at + 4.0, "end", &y.text(mark));
    }
}

fn titles(svg: &mut String, x: &Axis, y: &Axis) {
    label(
        svg,
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        HEIGHT - 8.0,
        "middle",
        x.title,
    );
    let (at, middle) = (14.0, TOP + (HEIGHT - TOP - BOTTOM) / 2.0);
    let _ = write!(
        svg,
        r#"<text class="axis" text-anchor="middle" transform="translate({at} {middle}) rotate(-90)">{}</text>"#,
        escaped(y.title)
    );
}

fn line(svg: &mut String, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = write!(
        svg,
        r#"<line class="grid" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
    );
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = write!(
        svg,
        r#"<text class="axis" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

fn draw(svg: &mut String, series: &Series, x: &Axis, y: &Axis) {
    let inside = |value: f64, low: f64, high: f64| value.clamp(low, high);
    let places: Vec<(f64, f64)> = series
        .points
        .iter()
        .map(|(a, b)| {
            (
                inside(along(x, *a), LEFT, WIDTH - RIGHT),
                inside(down(y, *b), TOP, HEIGHT - BOTTOM),
            )
        })
        .collect();
    let (name, colour) = (escaped(&series.name), series.colour);
    if series.is_line {
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashed = if series.is_dashed { " dashed" } else { "" };
        let points = path.join(" ");
        let _ = write!(
            svg,
            r#"<polyline class="s{colour}{dashed}" points="{points}"><title>{name}</title></polyline>"#
        );
    }
    if series.is_line && series.labels.is_empty() {
        return;
    }
    for (at, (x, y)) in places.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<circle class="c{colour}" cx="{x:.1}" cy="{y:.1}" r="4.5"><title>{name}</title></circle>"#
        );
        if let Some(text) = series.labels.get(at).filter(|text| !text.is_empty()) {
            let is_right = *x > WIDTH * 0.75;
            let (shift, anchor) = if is_right { (-8.0, "end") } else { (8.0, "start") };
            label(svg, x + shift, y - 6.0, anchor, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Axis = Axis {
        title: "s",
        from: 0.1,
        to: 100.0,
        scale: Scale::Log,
    };

    #[test]
    fn axes_have_round_marks_in_place() {
        assert!((SECONDS.place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(SECONDS.marks().len(), 10);
        let shares = Axis {
            title: "",
            from: 0.0,
            to: 0.9999,
            scale: Scale::Nines,
        };
        assert!((shares.place(0.99) - 0.5).abs() < 1e-9);
        assert_eq!(shares.text(0.999), "99.9%");
        let plain = Axis {
            title: "",
            from: 3.0,
            to: 41.0,
            scale: Scale::Linear,
        };
        assert_eq!(plain.marks(), [10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let series = Series {
            name: "<b>&\"".to_owned(),
            colour: 1,
            points: vec![(1.0, 2.0), (500.0, 3.0)],
            labels: vec!["<i>".to_owned()],
            is_line: true,
            is_dashed: false,
        };
        let svg = chart("t", &SECONDS, &SECONDS, &[series]);
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>") && !svg.contains("<i>"));
    }
}
