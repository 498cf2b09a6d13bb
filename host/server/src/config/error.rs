//! What is wrong with a configuration, and where: every problem names its place, its key and, when there is one, the
//! nearest right spelling. Reading goes on after a problem, so that `wasmtx check` can list them all.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// More problems than this are counted, not listed: a file that is no configuration at all has one per line.
const MAX_LISTED: usize = 100;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nowhere: a default, or a key that is missing.
    #[default]
    Default,
    /// In the file, both counted from 1.
    File {
        /// Line.
        line: u32,
        /// Column.
        column: u32,
    },
    /// In the environment, under this variable.
    Environment(Arc<str>),
    /// In the body of an API call.
    Request,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The key with its path, such as `paths.cam1.source`; empty when the text as a whole is meant.
    pub key: String,
    /// What.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ", did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with one configuration; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    file: Option<PathBuf>,
    list: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// Adds one.
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < MAX_LISTED {
            self.list.push(problem);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// Adds one without a suggestion.
    pub(crate) fn refuse(&mut self, origin: &Origin, key: impl Into<String>, message: impl Into<String>) {
        self.push(Problem {
            origin: origin.clone(),
            key: key.into(),
            message: message.into(),
            suggestion: None,
        });
    }

    pub(crate) fn extend(&mut self, other: Problems) {
        other.list.into_iter().for_each(|problem| self.push(problem));
        self.unlisted = self.unlisted.saturating_add(other.unlisted);
    }

    /// A configuration with one problem that has no place in the text.
    pub(crate) fn whole(message: impl Into<String>) -> Problems {
        let mut problems = Problems::default();
        problems.refuse(&Origin::Default, "", message);
        problems
    }

    /// Names the file that positions refer to.
    pub(crate) fn in_file(mut self, file: &Path) -> Problems {
        self.file = Some(file.to_owned());
        self
    }

    pub(crate) fn into_result(self) -> Result<(), Problems> {
        if self.list.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The problems, in the order of the file as far as they have a place in it.
    pub(crate) fn sorted(mut self) -> Problems {
        self.list.sort_by_key(|problem| match problem.origin {
            Origin::File { line, column } => (0, line, column),
            Origin::Default | Origin::Environment(_) | Origin::Request => (1, 0, 0),
        });
        self
    }

    /// The problems that are listed; a hopeless file has more.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl std::error::Error for Problems {}

/// One line per problem: `mediamtx.yml:12:5: paths.cam1.sorce: unknown key, did you mean …`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match (&problem.origin, &self.file) {
                (Origin::File { line, column }, Some(file)) => write!(f, "{}:{line}:{column}: ", file.display())?,
                (Origin::File { line, column }, None) => write!(f, "line {line}, column {column}: ")?,
                (Origin::Environment(variable), _) => write!(f, "environment variable {variable}: ")?,
                (Origin::Default, Some(file)) => write!(f, "{}: ", file.display())?,
                (Origin::Default, None) | (Origin::Request, _) => {}
            }
            write!(f, "{problem}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n… and {} more", self.unlisted)?;
        }
        Ok(())
    }
}
