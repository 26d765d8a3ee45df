//! What is in the places of caches, read back and written by the host: for sequences that are saved and restored.

use super::buffers::LayerStores;
pub(crate) use super::buffers::{block_words, delta_words};
use super::context::DeviceError;
use super::model::GpuModel;
use super::pool::Slot;
use super::readback::Answer;
use super::recording::Buffer;

/// A place in a buffer of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CachePlace {
    pub(crate) buffer: Buffer,
    pub(crate) index: u32,
}

impl CachePlace {
    /// Those of a delta net's state, rows and inputs.
    pub(crate) fn delta_net(layer: usize, slots: [&Slot; 3]) -> [Self; 3] {
        let [states, rows, inputs] = slots.map(Slot::index);
        [(Buffer::States(layer), states), (Buffer::Memory(layer), rows), (Buffer::Inputs(layer), inputs)]
            .map(|(buffer, index)| Self { buffer, index })
    }

    /// Those of a block's keys and values.
    pub(crate) fn block(layer: usize, slot: &Slot) -> [Self; 2] {
        [Buffer::Keys(layer), Buffer::Values(layer)].map(|buffer| Self { buffer, index: slot.index() })
    }
}

/// Bytes that are read back at once, unless a single place has more.
const AT_ONCE: u64 = 64 << 20;

impl GpuModel {
    /// New places for a layer's state, rows and inputs; `None` if it has none.
    pub(crate) fn take_delta_net(&self, layer: usize) -> Option<[Slot; 3]> {
        match self.layers().get(layer)? {
            LayerStores::DeltaNet(stores) => Some([0, 1, 2].map(|store| stores[store].pool.take())),
            LayerStores::Attention(_) => None,
        }
    }

    /// A new place for a layer's keys and values; `None` if it has none.
    pub(crate) fn take_block(&self, layer: usize) -> Option<Slot> {
        match self.layers().get(layer)? {
            LayerStores::Attention(store) => Some(store.pool.take()),
            LayerStores::DeltaNet(_) => None,
        }
    }

    /// Where a place is, and its bytes.
    fn find(&self, place: CachePlace) -> Option<(&wgpu::Buffer, u64, u64)> {
        let mut stores = self.layers().iter().flat_map(LayerStores::stores);
        stores.find_map(|store| {
            let (_, buffer) = store.buffers.iter().find(|(found, _)| *found == place.buffer)?;
            let bytes = 4 * store.words as u64;
            Some((buffer, bytes * u64::from(place.index), bytes))
        })
    }

    /// Reads what is in these places once all is done that the device was told, and has `read` take the numbers of each, in
    /// order.
    pub(crate) fn download(&mut self, places: &[CachePlace], mut read: impl FnMut(&[f32])) -> Result<(), DeviceError> {
        self.settle_places()?;
        let mut left = places;
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = left.iter().take_while(|&&place| {
                let more = self.find(place).map_or(0, |(_, _, bytes)| bytes);
                let fits = bytes == 0 || bytes + more <= AT_ONCE;
                bytes += if fits { more } else { 0 };
                fits
            });
            let count = fits.count();
            let (now, later) = left.split_at(count);
            let answer = self.stage_places(now, bytes)?;
            answer.wait(self.context())?;
            answer.is_here(self.context())?;
            let sizes: Vec<usize> =
                now.iter().map(|&place| self.find(place).map_or(0, |(_, _, bytes)| bytes as usize / 4)).collect();
            answer.read(self.context(), |words, _| {
                let mut words = words;
                for size in sizes {
                    let (place, rest) = words.split_at(size);
                    read(bytemuck::cast_slice(place));
                    words = rest;
                }
            })?;
            self.recycle(answer);
            left = later;
        }
        Ok(())
    }

    /// Has the device copy these places to where the host reads them.
    fn stage_places(&mut self, places: &[CachePlace], bytes: u64) -> Result<Answer, DeviceError> {
        let mut answer = self.stage_bytes(bytes)?;
        let scopes = self.context().catch();
        let mut encoder = self.context().device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut to = 0;
        for &place in places {
            let Some((buffer, from, bytes)) = self.find(place) else { continue };
            encoder.copy_buffer_to_buffer(buffer, from, answer.buffer(), to, bytes);
            to += bytes;
        }
        let submission = self.context().queue().submit([encoder.finish()]);
        answer.ask(&submission);
        scopes.close("to read caches", bytes)?;
        Ok(answer)
    }

    /// Writes numbers to these places, all of each. Steps that are sent later find them there.
    pub(crate) fn upload(&mut self, places: &[(CachePlace, Box<[f32]>)]) -> Result<(), DeviceError> {
        self.settle_places()?;
        let scopes = self.context().catch();
        for (place, numbers) in places {
            if let Some((buffer, from, bytes)) = self.find(*place)
                && bytes == 4 * numbers.len() as u64
            {
                self.context().queue().write_buffer(buffer, from, bytemuck::cast_slice(numbers));
            }
        }
        scopes.close("to write caches", 0)
    }
}
