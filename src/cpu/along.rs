//! What a mixer does along one sequence, row after row: sequences side by side where there are several, so that threads do not
//! meet after each.

use bevy_ecs::component::Mutable;
use bevy_ecs::entity::EntityIndexSet;
use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;
use bevy_ecs::system::SystemParam;

use super::Workers;
use super::kernels::Isa;
use crate::world::activations::Rows;
use crate::world::batch::{Batch, Span};
use crate::world::cache::Caches;
use crate::world::layer::LayerIndex;

/// Caches of one kind, by their sequences.
#[derive(SystemParam)]
pub struct CachesOf<'w, 's, C: Component<Mutability = Mutable>> {
    sequences: Query<'w, 's, &'static Caches, Allow<Disabled>>,
    caches: Query<'w, 's, &'static mut C, Allow<Disabled>>,
}

impl<C: Component<Mutability = Mutable>> CachesOf<'_, '_, C> {
    /// Has `work` fill each span's rows of `out`, with the cache that its sequence has for a layer.
    pub(super) fn along<const N: usize>(
        &mut self,
        layer: &LayerIndex,
        workers: &Workers,
        batch: &Batch,
        out: [&mut Rows; N],
        work: impl Fn(Isa, &Span, &mut C, [&mut [f32]; N]) + Sync,
    ) {
        let Self { sequences, caches } = self;
        let mut parts = out.map(|rows| rows.of_spans(&batch.spans));
        let with_rows =
            batch.spans.iter().map(|span| (span, parts.each_mut().map(|parts| parts.next().unwrap_or_default())));
        // A sequence despawned in the middle of a step leaves its rows behind; nobody will read them.
        let with_cache = with_rows.filter_map(|(span, rows)| {
            let cache = sequences.get(span.sequence).ok()?.of_layer(layer.0)?;
            Some((cache, (span, rows)))
        });
        let (found, spans): (EntityIndexSet, Vec<_>) = with_cache.unzip();
        let found = spans.into_iter().zip(caches.iter_many_unique_mut(found));
        let mut tasks: Vec<_> = found.filter_map(|(span, cache)| Some((span, cache.ok()?))).collect();
        let run = |isa: Isa, ((span, rows), cache): &mut ((&Span, [&mut [f32]; N]), Mut<C>)| {
            work(isa, span, cache, rows.each_mut().map(|rows| &mut **rows));
        };
        let rows = tasks.iter().map(|((span, _), _)| span.rows.len());
        if rows.clone().max().unwrap_or(0) * workers.threads() <= rows.sum() {
            workers.each(&mut tasks, run);
        } else {
            tasks.iter_mut().for_each(|task| workers.run(|isa| run(isa, task)));
        }
    }
}
