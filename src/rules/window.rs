//! The last predictions of one camera and zone.
//!
//! Beside the predictions themselves each reader keeps a *register*: one bit per prediction, the newest in bit 0,
//! set when it counts for that reader. With at most 64 predictions an agreement is then one mask and one
//! population count, whatever the number of rules.

use std::collections::VecDeque;

use super::{Agreement, Rule};
use crate::domain::{Answer, FrameSeq, Prediction, Score, Stamp, Withheld};

/// The most predictions that a window holds: the bits of a register.
pub(super) const CAPACITY: usize = u64::BITS as usize;

/// What the rules remember of a prediction.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Stamp,
    pub(super) answer: Answer,
    pub(super) score: f32,
    pub(super) margin: f32,
    /// Why its picture opens no door, if there is a reason.
    pub(super) withheld: Option<Withheld>,
}

impl Seen {
    /// Whether it is one of the rule's answers, whatever its score.
    pub(super) fn is_answer_of(&self, rule: &Rule) -> bool {
        rule.answers.contains(&self.answer)
    }

    /// Whether it reaches the rule's `min_score`; *unknown* always does.
    pub(super) fn scores_for(&self, rule: &Rule) -> bool {
        self.answer == Answer::Unknown || self.score >= rule.min_score.get()
    }

    /// Whether it counts for a grant of the rule.
    pub(super) fn proves(&self, rule: &Rule) -> bool {
        self.withheld.is_none() && self.counts_for(rule)
    }

    /// Whether it counts for the rule.
    pub(super) fn counts_for(&self, rule: &Rule) -> bool {
        self.is_answer_of(rule)
            && self.scores_for(rule)
            && (self.answer == Answer::Unknown || self.margin >= rule.margin)
    }
}

/// How many of how many agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) agreed: u32,
    pub(super) of: u32,
}

/// The predictions, oldest first, in order of capture.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    seen: VecDeque<Seen>,
    newest: Option<(u64, FrameSeq)>,
}

impl Window {
    /// Takes in a prediction; `false`, and nothing is changed, unless its frame is newer than every one before it
    /// (by monotonic stamp, then by number). What comes late could only pass off the past as the present.
    pub(super) fn push(&mut self, prediction: &Prediction) -> bool {
        if !self.admits(prediction) {
            return false;
        }
        let frame = prediction.frame;
        self.newest = Some((frame.stamp.mono_us(), frame.seq));
        if self.seen.len() == CAPACITY {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            at: frame.stamp,
            answer: prediction.answer(),
            score: prediction.score(),
            margin: prediction.margin(),
            withheld: prediction.withheld,
        });
        true
    }

    /// Whether [`Window::push`] would take it in.
    pub(super) fn admits(&self, prediction: &Prediction) -> bool {
        let frame = prediction.frame;
        self.newest.is_none_or(|newest| (frame.stamp.mono_us(), frame.seq) > newest)
    }

    /// Forgets the predictions, but not how far the frames had come.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// The newest prediction.
    pub(super) fn last(&self) -> Option<&Seen> {
        self.seen.back()
    }

    /// Newest first, with the bit of a register that stands for each.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (u64, &Seen)> {
        self.seen.iter().rev().enumerate().map(|(i, seen)| (1 << i, seen))
    }

    /// A register built from scratch.
    pub(super) fn register(&self, counts: impl Fn(&Seen) -> bool) -> u64 {
        self.newest_first().filter(|(_, seen)| counts(seen)).fold(0, |register, (bit, _)| register | bit)
    }

    /// How many predictions, from the newest back, an agreement looks at; at most [`CAPACITY`].
    fn span(&self, agree: &Agreement) -> u32 {
        let Some(newest) = self.seen.back() else { return 0 };
        let stale = self.seen.partition_point(|seen| newest.at.since(seen.at) > agree.within);
        let fresh = u32::try_from(self.seen.len() - stale).unwrap_or(u64::BITS);
        fresh.min(agree.n)
    }

    /// The mask of a register's bits that an agreement looks at.
    pub(super) fn mask(&self, agree: &Agreement) -> u64 {
        u64::MAX.checked_shr(u64::BITS - self.span(agree)).unwrap_or(0)
    }

    /// How many of the predictions that an agreement looks at are set in `register`.
    pub(super) fn tally(&self, register: u64, agree: &Agreement) -> Tally {
        let mask = self.mask(agree);
        Tally { agreed: (register & mask).count_ones(), of: mask.count_ones() }
    }

    /// Whether enough of them are set.
    pub(super) fn agrees(&self, register: u64, agree: &Agreement) -> bool {
        self.tally(register, agree).agreed >= agree.k.max(1)
    }

    /// What stands behind an agreement: of the counted predictions the most frequent answer (the more recent one
    /// of equals), their mean probability, the first and the last capture. `None` when none counts.
    pub(super) fn digest(&self, register: u64, agree: &Agreement) -> Option<Digest> {
        let chosen = register & self.mask(agree);
        let counted = || self.newest_first().filter(|(bit, _)| chosen & bit != 0).map(|(_, seen)| seen);
        let (first, last) = (counted().last()?.at, counted().next()?.at);
        let times = |answer: &Answer| counted().filter(|seen| seen.answer == *answer).count();
        // `max_by_key` keeps the last of equals, so ask oldest first.
        let oldest_first: Vec<&Seen> = counted().collect::<Vec<_>>().into_iter().rev().collect();
        let answer = oldest_first.iter().max_by_key(|seen| times(&seen.answer))?.answer.clone();
        Some(Digest { answer, mean: mean(counted())?, first, last })
    }
}

/// What stands behind an agreement.
pub(super) struct Digest {
    pub(super) answer: Answer,
    pub(super) mean: Score,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
}

/// The mean probability; `None` of nothing.
pub(super) fn mean<'a>(seen: impl Iterator<Item = &'a Seen>) -> Option<Score> {
    let (sum, count) = seen.fold((0.0_f64, 0_u32), |(sum, count), s| (sum + f64::from(s.score), count + 1));
    #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 within 0..=1")]
    let mean = (sum / f64::from(count)) as f32;
    Score::new(mean)
}
