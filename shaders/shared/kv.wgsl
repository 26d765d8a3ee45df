// The cache of keys and values: blocks of 32 positions behind a table. In a block, head after head, keys lie with
// neighbouring positions side by side, and values with neighbouring dimensions.

const BLOCK: u32 = 32u;

fn block_of(layer: u32, span: u32, position: u32) -> u32 {
    let blocks = table[layer_at(layer) + span];
    return table[blocks + position / BLOCK];
}

fn key_at(block: u32, kv_head: u32, dimension: u32, place: u32) -> u32 {
    return ((block * KV_HEADS + kv_head) * HEAD_DIM + dimension) * BLOCK + place;
}

fn value_at(block: u32, kv_head: u32, dimension: u32, place: u32) -> u32 {
    return ((block * KV_HEADS + kv_head) * BLOCK + place) * HEAD_DIM + dimension;
}
