//! The loop.

use std::sync::atomic::{AtomicBool, Ordering};

use portero_core::clock::{Clock, SystemClock};
use tch::{Reduction, Tensor};

use super::adam::Adam;
use super::average::Average;
use super::checkpoint::{self, State};
use super::run::LAST;
use super::{BEST, Epoch, FitError, HISTORY, Keep, Plan, Progress, Run, score, write_json};
use crate::data::{Balance, Batch, Dataset, Part, Supply, class_weights, mix};
use crate::model::Model;

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    /// All epochs, or as many as patience allowed. The best epoch's figures.
    Finished { best: Epoch },
    /// By the user; a checkpoint is there.
    Interrupted,
}

/// Fits one network to one data set.
pub(crate) struct Fitter<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) set: &'a Dataset,
    pub(crate) supply: &'a dyn Supply,
    pub(crate) run: &'a Run,
    /// The parts that are fitted to.
    pub(crate) fitted: &'a [Part],
    /// Set from outside (Ctrl-C) to stop after the step under way.
    pub(crate) stop: &'a AtomicBool,
    /// What this is a part of, shown while it is under way; nothing is then said of single epochs.
    pub(crate) within: Option<&'static str>,
}

/// What one call of [`Fitter::fit`] works with.
struct Work {
    adam: Adam,
    average: Option<Average>,
    weights: Option<Tensor>,
    train: Vec<usize>,
    val: Vec<usize>,
    steps: usize,
    state: State,
    progress: Progress,
}

impl Fitter<'_> {
    /// Trains from the beginning, or with `resume` from the checkpoint where there is one.
    pub(crate) fn fit(&self, resume: bool) -> Result<Ended, FitError> {
        let mut work = self.begin(resume)?;
        let plan = self.plan();
        while work.state.epoch < plan.last_epoch() && !self.out_of_patience(&work.state) {
            if !self.epoch(&mut work)? {
                self.save(&work)?;
                return Ok(Ended::Interrupted);
            }
            self.close(&mut work)?;
        }
        let state = work.state;
        match state.best.and_then(|best| state.history.into_iter().nth(best)) {
            Some(best) => Ok(Ended::Finished { best }),
            None => Err(FitError::NoRun { path: self.run.folder.clone() }),
        }
    }

    fn plan(&self) -> &Plan {
        &self.run.plan
    }

    fn begin(&self, resume: bool) -> Result<Work, FitError> {
        let plan = self.plan();
        let vars = self.model.vars();
        let fitted = vars.variables().into_iter().filter(|(_, tensor)| tensor.requires_grad());
        let fitted = fitted.map(|(name, tensor)| (self.model.rate(&name), name, tensor));
        let tensors = fitted.map(|(rate, name, tensor)| (name, tensor, rate)).collect();
        let mut adam = Adam::new(tensors, plan.optimizer, plan.weight_decay, plan.clip);
        let mut average = plan.ema.map(|decay| Average::new(vars, decay));
        let state = if resume && self.run.has_checkpoint() {
            checkpoint::load(&self.run.path(LAST), vars, &mut adam, average.as_mut())?
        } else {
            State::default()
        };
        let train = self.set.parts(self.fitted);
        let steps = self.chunks(&self.order(&train, 0)).len();
        let weights =
            (plan.balance == Balance::Weights).then(|| Tensor::from_slice(&class_weights(&self.counts())));
        let progress = Progress::new(plan.last_epoch() * steps, state.epoch * steps + state.step);
        Ok(Work { adam, average, weights, train, val: self.set.part(Part::Val), steps, state, progress })
    }

    /// How many pictures of each class are fitted to.
    fn counts(&self) -> Vec<usize> {
        let of_part = self.fitted.iter().map(|part| self.set.counts(*part));
        of_part.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect()).unwrap_or_default()
    }

    fn order(&self, train: &[usize], epoch: usize) -> Vec<usize> {
        self.supply.order(train, self.plan().balance, epoch as u64)
    }

    /// The batches of an epoch. A last one of a single picture is left out: a batch norm cannot learn from it.
    fn chunks<'o>(&self, order: &'o [usize]) -> Vec<&'o [usize]> {
        let mut chunks: Vec<_> = order.chunks(self.plan().batch as usize).collect();
        if chunks.len() > 1 && chunks.last().is_some_and(|c| c.len() == 1) {
            chunks.pop();
        }
        chunks
    }

    /// The steps of one epoch that are not done yet. False when it was interrupted.
    ///
    /// Where the supply allows it, a batch is made while the step before it computes.
    fn epoch(&self, work: &mut Work) -> Result<bool, FitError> {
        let (order, draw) = (self.order(&work.train, work.state.epoch), work.state.epoch as u64);
        let chunks = self.chunks(&order);
        let mut ahead = None;
        for at in work.state.step..chunks.len() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let begun = SystemClock.now();
            let batch = ahead.take().unwrap_or_else(|| self.supply.training(chunks[at], draw));
            let batch = batch.map_err(FitError::Batch)?;
            let mut waited = SystemClock.now().since(begun);
            match (self.supply.concurrent(), chunks.get(at + 1)) {
                (Some(supply), Some(next)) => {
                    let done = rayon::in_place_scope(|scope| {
                        scope.spawn(|_| ahead = Some(supply.training(next, draw)));
                        self.step(work, &batch)?;
                        Ok(SystemClock.now())
                    })?;
                    waited += SystemClock.now().since(done);
                }
                _ => self.step(work, &batch)?,
            }
            work.state.loading_seconds += waited.as_secs_f64();
            work.state.seconds += SystemClock.now().since(begun).as_secs_f64();
            self.show(work);
        }
        Ok(true)
    }

    fn step(&self, work: &mut Work, (pictures, classes): &Batch) -> Result<(), FitError> {
        let plan = self.plan();
        let (epoch, step) = (work.state.epoch, work.state.step);
        // Dropout draws from torch's generator: seeded for each step, it does not matter where a run was resumed.
        tch::manual_seed(mix(&[self.run.reading.seed, 3, epoch as u64, step as u64]) as i64);
        let logits = self.model.forward(pictures, true);
        let loss =
            logits.cross_entropy_loss(classes, work.weights.as_ref(), Reduction::Mean, -100, plan.smoothing);
        let rate = plan.learning_rate(epoch * work.steps + step, work.steps);
        let value = loss.double_value(&[]);
        self.finite(value, work, rate)?;
        work.adam.step(&loss, rate);
        if let Some(average) = &mut work.average {
            average.follow(self.model.vars(), work.adam.steps);
        }
        let right = logits.argmax(-1, false).eq_tensor(classes).sum(tch::Kind::Float).double_value(&[]);
        let (state, pictures) = (&mut work.state, classes.size()[0] as f64);
        state.step += 1;
        state.steps = work.adam.steps;
        state.loss += value * pictures;
        state.right += right;
        state.seen += pictures;
        Ok(())
    }

    /// Moves the bar on.
    fn show(&self, work: &mut Work) {
        let state = &work.state;
        let what = format!(
            "{}epoch {}/{} {:3.0} % loss {:.3} accuracy {:.1} %",
            self.within.map_or(String::new(), |name| format!("{name}: ")),
            state.epoch + 1,
            self.plan().epochs,
            100.0 * state.step as f64 / work.steps as f64,
            state.loss / state.seen,
            100.0 * state.right / state.seen
        );
        work.progress.step(state.epoch * work.steps + state.step, &what);
    }

    /// Refuses a loss that is no number.
    fn finite(&self, loss: f64, work: &Work, learning_rate: f64) -> Result<(), FitError> {
        if loss.is_finite() {
            return Ok(());
        }
        let kept = match work.state.history.last() {
            Some(last) => {
                format!("{} holds the state after epoch {}", self.run.path(LAST).display(), last.epoch)
            }
            None => "no epoch was completed, so there is no checkpoint".to_owned(),
        };
        let (epoch, step) = (work.state.epoch + 1, work.state.step + 1);
        Err(FitError::NotFinite { loss, epoch, step, learning_rate, kept })
    }

    /// After the last step of an epoch: looks at val, keeps the best weights, saves where the run stands.
    fn close(&self, work: &mut Work) -> Result<(), FitError> {
        let vars = self.model.vars();
        let rate = self.plan().learning_rate(work.state.epoch * work.steps + work.state.step - 1, work.steps);
        if let Some(average) = &mut work.average {
            average.exchange(vars);
        }
        let val = score(self.model, self.supply, &work.val)?;
        let (val_accuracy, val_balanced_accuracy) = val.accuracies();
        let val_loss = val.loss();
        self.finite(val_loss, work, rate)?;
        let state = &mut work.state;
        let entry = Epoch {
            epoch: state.epoch + 1,
            learning_rate: rate,
            train_loss: state.loss / state.seen,
            train_accuracy: state.right / state.seen,
            val_loss,
            val_accuracy,
            val_balanced_accuracy,
            seconds: state.seconds,
            loading_seconds: state.loading_seconds,
        };
        let last = self.plan().keep == Keep::Last;
        let better = last || state.best.is_none_or(|best| is_better(&entry, &state.history[best]));
        if better {
            state.best = Some(state.history.len());
            checkpoint::save_weights(&self.run.path(BEST), vars)?;
        }
        if let Some(average) = &mut work.average {
            average.exchange(vars);
        }
        let line = self.line(&entry, better && !last);
        state.history.push(entry);
        *state = State {
            epoch: state.epoch + 1,
            steps: state.steps,
            best: state.best,
            history: std::mem::take(&mut state.history),
            ..State::default()
        };
        if self.within.is_none() {
            work.progress.line(work.state.epoch * work.steps, &line);
        }
        if !self.knows_val() {
            write_json(&self.run.path(HISTORY), &work.state.history)?;
        }
        self.save(work)
    }

    /// Val says nothing of a network that is fitted to it.
    fn knows_val(&self) -> bool {
        self.fitted.contains(&Part::Val)
    }

    /// What is said of an epoch.
    fn line(&self, entry: &Epoch, best: bool) -> String {
        let val = format!(
            ", val loss {:.4}, val accuracy {:.2} % (balanced {:.2} %){}",
            entry.val_loss,
            100.0 * entry.val_accuracy,
            100.0 * entry.val_balanced_accuracy,
            if best { ", best so far" } else { "" },
        );
        format!(
            "{}epoch {}/{}: loss {:.4}{}, {:.1} s ({:.0} % loading)",
            if self.knows_val() { "with val, " } else { "" },
            entry.epoch,
            self.plan().epochs,
            entry.train_loss,
            if self.knows_val() { "" } else { &val },
            entry.seconds,
            100.0 * entry.loading_seconds / entry.seconds
        )
    }

    fn save(&self, work: &Work) -> Result<(), FitError> {
        let path = self.run.path(LAST);
        checkpoint::save(&path, self.model.vars(), &work.adam, work.average.as_ref(), &work.state)
    }

    fn out_of_patience(&self, state: &State) -> bool {
        let stale = state.best.map_or(0, |best| state.history.len() - 1 - best);
        self.plan().patience.is_some_and(|patience| stale >= patience.max(1))
    }
}

/// Higher balanced accuracy on val; of two that are equal, the lower loss.
fn is_better(new: &Epoch, old: &Epoch) -> bool {
    let (a, b) = (new.val_balanced_accuracy, old.val_balanced_accuracy);
    a > b || (a == b && new.val_loss < old.val_loss)
}
