//! Features computed once: with a frozen backbone nothing before the classifier changes, so each picture needs to
//! pass through it only once per augmentation draw.

use portero_core::clock::{Clock, SystemClock};
use tch::Tensor;

use super::Progress;
use crate::data::{Balance, Batch, Batches, Cause, Dataset, Part, Supply};
use crate::model::Network;

/// Pictures per forward pass.
const BATCH: usize = 32;

/// The features of a data set; epochs take turns through the draws.
pub(crate) struct Features<'a> {
    set: &'a Dataset,
    batches: &'a Batches<'a>,
    /// For each draw, one row per sample; rows of samples that are not fitted to are zero.
    drawn: Vec<Tensor>,
    /// One row per sample of val; other rows are zero.
    plain: Tensor,
}

impl<'a> Features<'a> {
    /// Passes the pictures of the parts `fitted` through the backbone `draws` times, those of val once as they are.
    pub(crate) fn compute(
        network: &Network,
        set: &'a Dataset,
        batches: &'a Batches<'a>,
        draws: u64,
        fitted: &[Part],
    ) -> Result<Self, Cause> {
        // Part by part: a picture's features depend in their last bits on how many go through together.
        let train: Vec<_> = fitted.iter().map(|part| set.part(*part)).collect();
        let val = [set.part(Part::Val)];
        let total = train.iter().map(Vec::len).sum::<usize>() * draws as usize + val[0].len();
        let begun = SystemClock.now();
        let mut progress = Progress::new(total, 0);
        let mut done = 0;
        let mut rows = |parts: &[Vec<usize>], make: &dyn Fn(&[usize]) -> Result<Batch, Cause>| {
            let mut all: Option<Tensor> = None;
            for chunk in parts.iter().flat_map(|part| part.chunks(BATCH)) {
                let (pictures, _) = make(chunk)?;
                let features = network.features(&pictures).ok_or("this network has no backbone")?;
                let to = all.get_or_insert_with(|| {
                    Tensor::zeros(
                        [set.samples.len() as i64, features.size()[1]],
                        (features.kind(), features.device()),
                    )
                });
                let places: Vec<i64> = chunk.iter().map(|i| *i as i64).collect();
                let _ = to.index_copy_(0, &Tensor::from_slice(&places), &features);
                done += chunk.len();
                progress.step(done, &format!("features {done} of {total}"));
            }
            all.ok_or_else(|| Cause::from("there are no pictures"))
        };
        let drawn = (0..draws).map(|draw| rows(&train, &|chunk| batches.training(chunk, draw)));
        let drawn = drawn.collect::<Result<Vec<_>, Cause>>()?;
        let plain = rows(&val, &|chunk| batches.plain(chunk))?;
        let seconds = SystemClock.now().since(begun).as_secs_f64();
        progress.line(total, &format!("features of {total} pictures, {seconds:.1} s"));
        Ok(Self { set, batches, drawn, plain })
    }

    fn take(&self, from: &Tensor, indices: &[usize]) -> Batch {
        let places: Vec<i64> = indices.iter().map(|i| *i as i64).collect();
        (from.index_select(0, &Tensor::from_slice(&places)), self.set.truth(indices))
    }
}

impl Supply for Features<'_> {
    fn order(&self, indices: &[usize], balance: Balance, epoch: u64) -> Vec<usize> {
        self.batches.order(indices, balance, epoch)
    }

    fn training(&self, indices: &[usize], draw: u64) -> Result<Batch, Cause> {
        Ok(self.take(&self.drawn[draw as usize % self.drawn.len()], indices))
    }

    fn plain(&self, indices: &[usize]) -> Result<Batch, Cause> {
        Ok(self.take(&self.plain, indices))
    }
}
