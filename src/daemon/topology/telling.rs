//! What the main thread tells the rules, so that none of it is lost while they are behind.
//!
//! What could not be handed over is kept and tried again, the newest of each kind. Nobody may go on as if it had arrived.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};

use super::super::judge::ToRules;
use crate::config::Config;

/// What the rules have been told, and are still to be told.
#[derive(Default)]
pub(super) struct Telling {
    /// Whether the wall clock is synchronised, as last told.
    clock: Option<bool>,
    /// Of a reload.
    config: Option<Config>,
}

impl Telling {
    /// Tells whether the wall clock is synchronised, when that is new. Whether it was told just now: what was not is to be
    /// told again.
    pub(super) fn clock(
        &mut self,
        is_synchronised: bool,
        rules: Option<&Sender<ToRules>>,
        patience: Duration,
    ) -> bool {
        let is_told = self.clock != Some(is_synchronised)
            && rules.is_some_and(|rules| send(rules, ToRules::ClockSync(is_synchronised), patience));
        if is_told {
            self.clock = Some(is_synchronised);
        }
        is_told
    }

    /// Keeps the configuration of a reload until it is told; one that waits is replaced.
    pub(super) fn keep(&mut self, config: Config) {
        self.config = Some(config);
    }

    /// Tells of the reload that is kept. Its configuration once the rules have been told.
    pub(super) fn config(&mut self, rules: Option<&Sender<ToRules>>, patience: Duration) -> Option<Config> {
        let (rules, config) = (rules?, self.config.as_ref()?);
        let swap = ToRules::Swap(
            Arc::new(config.rules.clone()),
            Arc::new(config.wishes.clone()),
            Arc::clone(&config.sha256),
        );
        if send(rules, swap, patience) { self.config.take() } else { None }
    }
}

/// Whether it was handed over. Rules that have ended are told nothing, and the daemon stops over that.
fn send(rules: &Sender<ToRules>, message: ToRules, patience: Duration) -> bool {
    match rules.send_timeout(message, patience) {
        Ok(()) => true,
        Err(SendTimeoutError::Timeout(_)) => {
            if !patience.is_zero() {
                log::warn!("the rules are too far behind to be told something: they will be told later");
            }
            false
        }
        Err(SendTimeoutError::Disconnected(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn whether_the_clock_is_synchronised_is_told_again_until_the_rules_have_taken_it() {
        let (rules, inbox) = bounded(1);
        let mut telling = Telling::default();
        assert!(telling.clock(false, Some(&rules), SOON));
        assert!(!telling.clock(true, Some(&rules), SOON), "the rules are behind");
        assert!(matches!(inbox.recv().unwrap(), ToRules::ClockSync(false)));
        assert!(telling.clock(true, Some(&rules), SOON), "it was not lost");
        assert!(matches!(inbox.recv().unwrap(), ToRules::ClockSync(true)));
        assert!(!telling.clock(true, Some(&rules), SOON) && inbox.is_empty(), "nothing new");
    }

    #[test]
    fn a_reload_is_in_force_only_once_the_rules_have_taken_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portero.toml");
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/person-v3s.toml");
        let camera = "[[camera]]\nid = \"c\"\nsource = \"/dev/video0\"\n";
        let rule = "[[rule]]\nid = \"r\"\ncamera = \"c\"\nlabel = \"person\"\nlog = true\n";
        std::fs::write(&path, format!("version = 1\n[model]\nmanifest = {model:?}\n{camera}{rule}")).unwrap();
        let config = crate::config::load(&path).unwrap().config;
        let (rules, inbox) = bounded(1);
        let mut telling = Telling::default();
        rules.send(ToRules::ClockSync(true)).unwrap();
        telling.keep(config);
        assert!(telling.config(Some(&rules), SOON).is_none(), "the rules are behind");
        inbox.recv().unwrap();
        assert_eq!(telling.config(Some(&rules), SOON).unwrap().rules.rules.len(), 1);
        assert!(matches!(inbox.recv().unwrap(), ToRules::Swap(rules, ..) if rules.rules.len() == 1));
        assert!(telling.config(Some(&rules), SOON).is_none() && inbox.is_empty(), "told once");
    }
}
