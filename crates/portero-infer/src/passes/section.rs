//! A stretch of a program's kernels, and the buffers that it runs over.

use std::ops::Range;

use super::program::Kernel;
use portero_kernels::Aligned;

/// What input and output of a kernel may take together, in bytes, if it is to run over a whole batch: then eight
/// pictures stay in half a megabyte.
const SMALL: usize = 64 * 1024;

/// A stretch of kernels. Its input is in the first buffer.
pub(super) struct Section<K> {
    steps: Vec<Step<K>>,
    /// Numbers of each buffer, for one picture.
    buffers: Vec<usize>,
    /// Where the result is.
    result: usize,
}

struct Step<K> {
    kernel: K,
    /// Buffers. A kernel of one input names it twice.
    inputs: [usize; 2],
    output: usize,
}

/// Divides a list where only one value is still wanted, at the first such place behind which all is small: the
/// numbers of that value, what is before it and what is behind. The list names its inputs: value 0 has `first` numbers,
/// and each kernel makes the next.
pub(super) fn cut<K: Kernel>(first: usize, list: &[(K, [usize; 2])]) -> (usize, Section<K>, Section<K>) {
    let mut sizes = vec![first];
    sizes.extend(list.iter().map(|(kernel, _)| kernel.output_len()));
    let large = |(i, (_, inputs)): (usize, &(K, [usize; 2]))| {
        (sizes[i + 1] + sizes[inputs[0]]) * size_of::<K::Number>() > SMALL
    };
    let small = list.iter().enumerate().rposition(large).map_or(0, |last| last + 1);
    let alone = |at: usize| list[at..].iter().all(|(_, inputs)| inputs.iter().all(|i| *i >= at));
    let at = (small..=list.len()).find(|at| alone(*at)).unwrap_or(list.len());
    let section = |range: Range<usize>| Section::new(&list[range.clone()], range.start, &sizes);
    (sizes[at], section(0..at), section(at..list.len()))
}

impl<K: Kernel> Section<K> {
    /// The kernels of `list`, whose input is the value `first`. A buffer is used again when nobody reads its value
    /// any more.
    fn new(list: &[(K, [usize; 2])], first: usize, sizes: &[usize]) -> Self {
        let mut buffers = vec![sizes[first]];
        // Which value is in which buffer.
        let mut holds = vec![Some(first)];
        let mut steps = Vec::new();
        for (i, (kernel, inputs)) in list.iter().enumerate() {
            for held in &mut holds {
                let wanted = |value: usize| list[i..].iter().any(|(_, inputs)| inputs.contains(&value));
                *held = held.filter(|value| wanted(*value));
            }
            let value = first + i + 1;
            let free = (0..buffers.len()).filter(|b| holds[*b].is_none()).max_by_key(|b| buffers[*b]);
            let output = free.unwrap_or_else(|| {
                buffers.push(0);
                holds.push(None);
                buffers.len() - 1
            });
            buffers[output] = buffers[output].max(sizes[value]);
            let place = |value: usize| holds.iter().position(|held| *held == Some(value)).unwrap_or(0);
            let inputs = inputs.map(place);
            holds[output] = Some(value);
            steps.push(Step { kernel: kernel.clone(), inputs, output });
        }
        let result = steps.last().map_or(0, |step| step.output);
        Self { steps, buffers, result }
    }

    /// The kernels, in the order in which they run.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &K> {
        self.steps.iter().map(|step| &step.kernel)
    }

    /// Numbers of the first buffer, for one picture.
    pub(super) fn first(&self) -> usize {
        self.buffers[0]
    }

    /// In which buffer the result is.
    pub(super) fn result(&self) -> usize {
        self.result
    }

    /// Buffers for so many pictures.
    pub(super) fn memory(&self, pictures: usize) -> Vec<Aligned<K::Number>> {
        self.buffers.iter().map(|size| Aligned::new(&vec![K::Number::default(); size * pictures])).collect()
    }

    /// Runs it on the pictures in the first buffer.
    pub(super) fn run(&self, buffers: &mut [Aligned<K::Number>], pictures: usize) {
        for Step { kernel, inputs, output } in &self.steps {
            let mut target = std::mem::take(&mut buffers[*output]);
            let [first, second] = kernel.input_lens().map(|numbers| numbers * pictures);
            let inputs = [&buffers[inputs[0]][..first], &buffers[inputs[1]][..second]];
            kernel.step(inputs, &mut target[..kernel.output_len() * pictures]);
            buffers[*output] = target;
        }
    }
}
