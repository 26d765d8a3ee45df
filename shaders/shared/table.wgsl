// The step's table: everything that changes from step to step, written once by the host.
//
//   head      where each part begins: rows, spans, angles, logit rows, picks, then one place for each layer's part
//   rows      of each row: its token, its position, its span
//   spans     of each span: its first row, how many, the position of the first, rows since the state's multiple
//   angles    of each row: the cosines and then the sines of its rotary position
//   layers    of each span: the slots of its state, rows and inputs; or where its table of blocks begins

const ROW: u32 = 3u;
const SPAN: u32 = 4u;

fn row_at(row: u32) -> u32 {
    return table[0] + ROW * row;
}

fn row_token(row: u32) -> u32 {
    return table[row_at(row)];
}

fn row_position(row: u32) -> u32 {
    return table[row_at(row) + 1u];
}

fn row_span(row: u32) -> u32 {
    return table[row_at(row) + 2u];
}

struct Span {
    first_row: u32,
    rows: u32,
    first_position: u32,
    since: u32,
}

fn load_span(span: u32) -> Span {
    let at = table[1] + SPAN * span;
    return Span(table[at], table[at + 1u], table[at + 2u], table[at + 3u]);
}

// Where a layer's part begins.
fn layer_at(layer: u32) -> u32 {
    return table[5u + layer];
}
