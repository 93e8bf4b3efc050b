//! What is wrong with a configuration file: where, what was found, what is allowed.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value as Json, json};

use super::masked;
use crate::capture::Masker;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what its author wants.
    Warning,
}

impl Grade {
    /// The word used in output: `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Error => "error",
            Grade::Warning => "warning",
        }
    }
}

/// One problem of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub grade: Grade,
    /// The bytes it is about; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What stands beside the caret: what was found, or "did you mean".
    pub label: String,
    /// What is allowed or what to do, one line each.
    pub help: Vec<String>,
    /// Another place that belongs to it, and what it is.
    pub other: Option<(Range<usize>, String)>,
}

impl Problem {
    /// What is wrong is told with what was found, and that may hold a secret of the file.
    fn hide(&mut self, masker: &Masker) {
        self.message = masker.mask(&self.message);
        self.label = masker.mask(&self.label);
        self.help.iter_mut().for_each(|line| *line = masker.mask_known(line));
        if let Some((_, text)) = &mut self.other {
            *text = masker.mask(text);
        }
    }

    fn new(grade: Grade, span: Option<Range<usize>>, message: String) -> Self {
        Self { grade, span, message, label: String::new(), help: Vec::new(), other: None }
    }

    pub(super) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Grade::Error, Some(span), message.into())
    }

    pub(super) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Grade::Warning, Some(span), message.into())
    }

    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self::new(Grade::Error, None, message.into())
    }

    pub(super) fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    pub(super) fn other(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.other = Some((span, text.into()));
        self
    }
}

/// All problems of one file, in the order of their places, with the text they point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    source: String,
    list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Problems {
    pub(super) fn new(path: &Path, source: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|p| (p.span.as_ref().map(|s| s.start), p.grade));
        let (source, masker) = masked::source(source);
        list.iter_mut().for_each(|problem| problem.hide(&masker));
        Self { path: path.to_owned(), source, list }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The problems, those of the whole file first, then by position.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors and how many warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.list.iter().filter(|p| p.grade == Grade::Error).count();
        (errors, self.list.len() - errors)
    }

    /// Every problem with file, line, column, the line itself and a caret, then a line that counts them. Ends
    /// with a newline unless there are no problems. `color` adds terminal colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        if self.list.is_empty() {
            return String::new();
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.list {
            text.push_str(&renderer.render(&[self.group(problem)]));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// E.g. `3 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        match self.counts() {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
        }
    }

    /// An array of objects: `file`, `line` and `column` (from 1; null for the file as a whole), `severity`,
    /// `message`, `label`, `help` (an array of lines).
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.list.iter().map(|p| self.problem_json(p)).collect()
    }

    fn problem_json(&self, problem: &Problem) -> Json {
        let place = problem.span.as_ref().map(|s| self.line_and_column(s.start));
        json!({
            "file": self.path.to_string_lossy(),
            "line": place.map(|p| p.0),
            "column": place.map(|p| p.1),
            "severity": problem.grade.as_str(),
            "message": problem.message,
            "label": problem.label,
            "help": problem.help,
        })
    }

    /// Line and column (in characters) of a byte, both from 1.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = self.source.get(..byte.min(self.source.len())).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.grade {
            Grade::Error => Level::ERROR,
            Grade::Warning => Level::WARNING,
        };
        let group = Group::with_title(level.primary_title(&problem.message));
        // A problem of the whole file names it in its message.
        let group = match &problem.span {
            Some(span) => group.element(self.snippet(problem, span.clone())),
            None => group,
        };
        group.elements(problem.help.iter().map(|line| Level::HELP.message(line)))
    }

    fn snippet<'a>(
        &'a self,
        problem: &'a Problem,
        span: Range<usize>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let label = Some(problem.label.as_str()).filter(|text| !text.is_empty());
        let snippet = Snippet::source(&self.source)
            .path(self.path.to_string_lossy())
            .annotation(AnnotationKind::Primary.span(span).label(label));
        match &problem.other {
            Some((span, text)) => {
                snippet.annotation(AnnotationKind::Context.span(span.clone()).label(text.as_str()))
            }
            None => snippet,
        }
    }
}
