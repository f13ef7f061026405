//! The page: figures, pictures and the words around them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{DemoReport, ReportError, Summary, chart, seconds};
use crate::log::Log;
use crate::log::schema::Severity;

/// Events shown; the logs hold all of them.
const EVENTS: usize = 40;

/// The page of a demo.
///
/// # Errors
/// [`ReportError::NoTicks`] for a rule without ticks.
pub fn demo(report: &DemoReport<'_>) -> Result<String, ReportError> {
    let summaries = report
        .rules
        .iter()
        .map(|rule| {
            Summary::new(&rule.logs, report.change_time_s, report.tick_period_s).ok_or_else(|| {
                ReportError::NoTicks {
                    label: rule.label.to_owned(),
                }
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let labels: Vec<&str> = report.rules.iter().map(|rule| rule.label).collect();

    let mut page = Page::default();
    page.header(report, &summaries);
    page.tiles(&labels, &summaries);
    page.legend(report);

    page.open_section("Where it went", "Every run from above. The wide grey line is the target path, the dot is where the robot changed.");
    page.text("<div class=\"row\">");
    for (index, label) in labels.iter().enumerate() {
        page.figure(
            &format!("rule{index}"),
            &chart::paths(report, index)?,
            label,
            &format!("Paths driven with {label}, from above"),
        );
    }
    page.text("</div></section><div class=\"pair\">");

    page.open_section(
        "How well it kept to the path",
        "Mean over the runs; the band holds every run.",
    );
    page.figure(
        "dashed",
        &chart::path_error(report)?,
        "All rules",
        "Distance from the target path over time, every rule",
    );
    page.text("</section>");

    page.open_section(
        "How long a tick took",
        "Dot: the median; line: to the 99th percentile; bar: the slowest tick.",
    );
    page.figure(
        "",
        &chart::tick_time(report, &summaries)?,
        "All rules",
        "Time of a tick by phase, against the deadline",
    );
    page.text("</section></div>");

    page.open_section(
        "How well it predicted",
        "Error of the prediction one tick ahead, on transitions the model had not seen: with the parameters as trained (grey) and with \
         those it planned with (colour), averaged over the last second. Lower is better; the axis is logarithmic.",
    );
    page.text("<div class=\"row\">");
    for (index, label) in labels.iter().enumerate() {
        let description = format!("Error of prediction over time with {label}");
        page.figure(
            &format!("rule{index}"),
            &chart::prediction_error(report, index)?,
            label,
            &description,
        );
    }
    page.text("</div></section>");

    page.table(&labels, &summaries);
    page.events(report);
    page.footer(report);
    Ok(page.finish(report))
}

/// Text that stands in HTML for itself.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}

/// A figure of the table, or a dash where there is none.
fn figure(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        "–".into()
    }
}

/// The body of the page as far as it is written. Writing to a `String` cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn open_section(&mut self, title: &str, note: &str) {
        self.add(format_args!(
            "<section><h2>{title}</h2><p class=\"note\">{note}</p>"
        ));
    }

    fn figure(&mut self, class: &str, svg: &str, caption: &str, description: &str) {
        let (caption, description) = (Escaped(caption), Escaped(description));
        self.add(format_args!(
            "<figure class=\"{class}\"><figcaption>{caption}</figcaption><div role=\"img\" aria-label=\"{description}\">{svg}</div></figure>"
        ));
    }

    fn header(&mut self, report: &DemoReport<'_>, summaries: &[Summary]) {
        let runs = summaries
            .iter()
            .map(|summary| summary.runs)
            .max()
            .unwrap_or(0);
        self.add(format_args!(
            "<header><h1>{}</h1><p>{}, {runs} runs a rule with the same seeds, {:.0} ticks a second. At {:.1} s: <strong>{}</strong>.</p>\
             </header>",
            Escaped(report.robot),
            Escaped(report.course),
            1.0 / report.tick_period_s,
            report.change_time_s,
            Escaped(report.change),
        ));
    }

    /// The answer in large figures: what each rule made of the change, against the first rule.
    fn tiles(&mut self, labels: &[&str], summaries: &[Summary]) {
        let [(without, reference), rules @ ..] =
            &labels.iter().zip(summaries).collect::<Vec<_>>()[..]
        else {
            return;
        };
        self.text("<div class=\"tiles\">");
        for (index, (label, summary)) in rules.iter().enumerate() {
            let change = 100.0 * (summary.path_error_after_m / reference.path_error_after_m - 1.0);
            self.add(format_args!(
                "<div class=\"tile rule{}\"><b>{}</b><span>path error after the change with {}: {}\u{a0}m, against {}\u{a0}m with {}</span></div>",
                index + 1,
                if change.is_finite() { format!("{change:+.0} %").replace('-', "−") } else { "–".into() },
                Escaped(label),
                figure(summary.path_error_after_m, 3),
                figure(reference.path_error_after_m, 3),
                Escaped(without),
            ));
        }
        self.text("</div>");
    }

    fn legend(&mut self, report: &DemoReport<'_>) {
        self.text("<ul class=\"legend\">");
        for (index, rule) in report.rules.iter().enumerate() {
            self.add(format_args!(
                "<li class=\"rule{index}\"><svg width=\"34\" height=\"8\" viewBox=\"0 0 34 8\" aria-hidden=\"true\"><line x1=\"1\" \
                 y1=\"4\" x2=\"33\" y2=\"4\"/></svg>{}</li>",
                Escaped(rule.label)
            ));
        }
        self.text("</ul>");
    }

    fn table(&mut self, labels: &[&str], summaries: &[Summary]) {
        self.open_section("In figures", "Means over the runs, before and after the change. Prediction errors are squared, in units of the model's scales.");
        self.text("<table><thead><tr><th></th>");
        for (index, label) in labels.iter().enumerate() {
            self.add(format_args!(
                "<th scope=\"col\" class=\"rule{index}\">{}</th>",
                Escaped(label)
            ));
        }
        self.text("</tr></thead><tbody>");
        type Cell = fn(&Summary) -> String;
        let rows: [(&str, Cell); 14] = [
            ("Path error before (m)", |s| {
                figure(s.path_error_before_m, 3)
            }),
            ("Path error after (m)", |s| {
                format!(
                    "{} ± {}",
                    figure(s.path_error_after_m, 3),
                    figure(s.path_error_after_std_m, 3)
                )
            }),
            ("Progress before (m)", |s| figure(s.progress_before_m, 2)),
            ("Progress after (m)", |s| figure(s.progress_after_m, 2)),
            ("Prediction error before", |s| {
                figure(s.prediction_error_before, 3)
            }),
            ("Prediction error after, as trained", |s| {
                figure(s.prediction_error_after_star, 3)
            }),
            ("Prediction error after, as planned with", |s| {
                figure(s.prediction_error_after, 3)
            }),
            ("Ticks", |s| s.ticks.to_string()),
            ("Ticks adapted", |s| s.adapted_ticks.to_string()),
            ("Ticks the gate refused", |s| s.refused_ticks.to_string()),
            ("Deadline misses", |s| s.deadline_misses.to_string()),
            ("Tick, median (ms)", |s| figure(s.tick_ms_p50, 2)),
            ("Tick, 99 % / slowest (ms)", |s| {
                format!(
                    "{} / {}",
                    figure(s.tick_ms_p99, 2),
                    figure(s.tick_ms_max, 2)
                )
            }),
            ("Tick outside ONNX Runtime", |s| percent(s.own_time_share)),
        ];
        for (name, cell) in rows {
            self.add(format_args!("<tr><th scope=\"row\">{name}</th>"));
            for summary in summaries {
                self.add(format_args!("<td>{}</td>", cell(summary)));
            }
            self.text("</tr>");
        }
        self.text("</tbody></table></section>");
    }

    /// Events of all runs, equal ones as one line.
    fn events(&mut self, report: &DemoReport<'_>) {
        let mut lines: BTreeMap<(Severity, &str), (usize, f64)> = BTreeMap::new();
        for log in report.rules.iter().flat_map(|rule| &rule.logs) {
            for event in &log.events {
                let time = seconds(log, event.robot_time_us);
                let line = lines
                    .entry((event.severity(), &event.text))
                    .or_insert((0, time));
                *line = (line.0 + 1, line.1.min(time));
            }
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        self.open_section(
            "What happened",
            "Over all runs; the time is that of the first.",
        );
        self.text("<table class=\"events\"><thead><tr><th scope=\"col\">s</th><th scope=\"col\">times</th><th scope=\"col\">event</th></tr></thead><tbody>");
        for ((severity, text), (count, time)) in lines.iter().take(EVENTS) {
            let severity = match severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            self.add(format_args!(
                "<tr class=\"{severity}\"><td>{time:.1}</td><td>{count}</td><td>{}</td></tr>",
                Escaped(text)
            ));
        }
        self.text("</tbody></table>");
        if lines.len() > EVENTS {
            self.add(format_args!(
                "<p class=\"note\">{} more in the logs.</p>",
                lines.len() - EVENTS
            ));
        }
        self.text("</section>");
    }

    /// What was run, from the logs' own headers.
    fn footer(&mut self, report: &DemoReport<'_>) {
        let Some(run) = report
            .rules
            .iter()
            .flat_map(|rule| &rule.logs)
            .map(|log: &Log| &log.run)
            .next()
        else {
            return;
        };
        self.add(format_args!(
            "<footer><p>Surefoot {}, ONNX Runtime {}, {} threads on {}. Model {}.</p></footer>",
            Escaped(&run.surefoot_version),
            Escaped(&run.onnxruntime_version),
            run.threads,
            Escaped(&run.cpu),
            &run.model_sha256()[..16],
        ));
    }

    fn finish(self, report: &DemoReport<'_>) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>Surefoot: {}</title><style>{}</style></head>\n<body><main>{}</main>\
             </body></html>\n",
            Escaped(report.robot),
            include_str!("page.css"),
            self.0
        )
    }
}

fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.0} %", 100.0 * share)
    } else {
        "–".into()
    }
}
