//! What comes back from a device: tokens, four bytes each, and logits where a host asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::context::{DeviceError, GpuContext};

/// Buffers that the host reads, used again and again.
#[derive(Debug, Default)]
pub(super) struct Staging {
    free: Vec<wgpu::Buffer>,
}

/// What was sent and will come back.
#[derive(Debug)]
pub(super) struct Answer {
    buffer: wgpu::Buffer,
    picks: usize,
    row_words: usize,
    rows: usize,
    state: Arc<AtomicU8>,
    submission: Option<wgpu::SubmissionIndex>,
}

const UNASKED: u8 = 0;
const ASKED: u8 = 1;
const HERE: u8 = 2;
const LOST: u8 = 3;

impl Staging {
    pub(super) fn take(
        &mut self,
        context: &GpuContext,
        pick_bytes: u64,
        row_bytes: u64,
        rows: usize,
    ) -> Result<Answer, DeviceError> {
        let bytes = pick_bytes + row_bytes * rows as u64;
        let found = self.free.iter().position(|buffer| buffer.size() >= bytes);
        let buffer = match found {
            Some(index) => self.free.swap_remove(index),
            None => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                context.buffer("what comes back", bytes.max(256), usage)?
            }
        };
        let state = Arc::new(AtomicU8::new(UNASKED));
        Ok(Answer {
            buffer,
            picks: pick_bytes as usize / 4,
            row_words: row_bytes as usize / 4,
            rows,
            state,
            submission: None,
        })
    }

    pub(super) fn give_back(&mut self, answer: Answer) {
        // Logits of many rows are rare and large.
        if self.free.len() < 4 && answer.buffer.size() < 64 << 20 {
            self.free.push(answer.buffer);
        }
    }
}

impl Answer {
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Whether it was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.state.load(Ordering::Acquire) != UNASKED
    }

    /// Asks for it, once the commands that fill it are submitted.
    pub(super) fn ask(&mut self, submission: &wgpu::SubmissionIndex) {
        self.submission = Some(submission.clone());
        self.state.store(ASKED, Ordering::Release);
        let state = self.state.clone();
        self.buffer.slice(..).map_async(wgpu::MapMode::Read, move |mapped| {
            state.store(if mapped.is_ok() { HERE } else { LOST }, Ordering::Release);
        });
    }

    /// Whether it is here; an error if it never will be.
    pub(super) fn is_here(&self, context: &GpuContext) -> Result<bool, DeviceError> {
        match self.state.load(Ordering::Acquire) {
            UNASKED | ASKED => Ok(false),
            HERE => Ok(true),
            _ => Err(DeviceError::Lost {
                adapter: context.info().name.clone(),
                doing: "reading back a step's tokens".to_owned(),
            }),
        }
    }

    /// Waits for it, and not for what was sent after it.
    pub(super) fn wait(&self, context: &GpuContext) -> Result<(), DeviceError> {
        context.poll(wgpu::PollType::Wait { submission_index: self.submission.clone(), timeout: None }, "a step")
    }

    /// Reads it: `read` is given the picks, and the rows of logits one after the other. Nothing, if it is not here.
    pub(super) fn read(&self, context: &GpuContext, read: impl FnOnce(&[u32], &[f32])) -> Result<(), DeviceError> {
        let scopes = context.catch();
        let words = self.picks + self.row_words * self.rows;
        if let Ok(view) = self.buffer.slice(..4 * words as u64).get_mapped_range() {
            let words: &[u32] = bytemuck::cast_slice(&view);
            read(&words[..self.picks], bytemuck::cast_slice(&words[self.picks..]));
        }
        self.buffer.unmap();
        scopes.close("reading back a step's tokens", 0)
    }
}
