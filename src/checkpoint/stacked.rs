//! Experts of a layer that share a tensor, `[experts, rows, columns]`, as published checkpoints and GGUF files have them. The
//! model has a matrix for each expert, which is a part of it.

#![forbid(unsafe_code)]

/// A part of a tensor that all experts of a layer share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The full name of the tensor.
    pub(super) tensor: String,
    pub(super) expert: usize,
    /// How many experts there must be.
    pub(super) experts: usize,
    /// Which share of the expert's rows it is, of how many.
    pub(super) share: (usize, usize),
}

/// What stands before the number of an expert.
const EXPERTS: &str = ".experts.";

/// The name that a matrix of an expert, `…experts.3.up_proj.weight`, is part of in files that stack them, and the expert.
pub(crate) fn stack_of(name: &str) -> Option<(String, usize)> {
    let (layer, rest) = name.rsplit_once(EXPERTS)?;
    let (number, kind) = rest.strip_suffix(".weight")?.split_once('.')?;
    let expert: usize = number.parse().ok()?;
    (expert.to_string() == number).then(|| (format!("{layer}{EXPERTS}{kind}"), expert))
}

/// Where the matrix of an expert with this full name may be, in a model with so many experts.
pub(super) fn parts_for(name: &str, experts: usize) -> impl Iterator<Item = Part> {
    stack_of(name).into_iter().flat_map(move |(tensor, expert)| {
        let fused = ["gate_proj", "up_proj"].into_iter().zip(0..).find_map(|(own, share)| {
            let layer = tensor.strip_suffix(own)?;
            Some((format!("{layer}gate_up_proj"), (share, 2)))
        });
        let places = [(tensor, (0, 1))].into_iter().chain(fused);
        places.map(move |(tensor, share)| Part { tensor, expert, experts, share })
    })
}

/// Where in `[experts, rows, columns]` a part is: the shape of the part, and its first element; what was expected if it
/// cannot be there.
pub(super) fn locate(part: &Part, shape: &[usize]) -> Result<([usize; 2], usize), String> {
    let &[experts, rows, columns] = shape else { return Err("shape [experts, rows, columns]".to_owned()) };
    let (share, of) = part.share;
    if experts != part.experts {
        return Err(format!("{} experts, as the configuration says", part.experts));
    }
    if !rows.is_multiple_of(of) || part.expert >= experts {
        return Err(format!("rows of {of} matrices of each expert"));
    }
    let own = rows / of;
    Ok(([own, columns], (part.expert * rows + share * own) * columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experts_matrix_is_found_in_what_all_share() {
        assert_eq!(
            stack_of("model.layers.0.mlp.experts.3.up_proj.weight"),
            Some(("model.layers.0.mlp.experts.up_proj".into(), 3))
        );
        for other in [
            "layers.0.mlp.experts.03.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
            "a.experts.x.up_proj.weight",
            "a.experts.1.up_proj",
        ] {
            assert_eq!(stack_of(other), None, "{other}");
        }
        let part = |share| Part { tensor: String::new(), expert: 2, experts: 4, share };
        assert_eq!(locate(&part((0, 1)), &[4, 6, 5]), Ok(([6, 5], 60)));
        assert_eq!(locate(&part((1, 2)), &[4, 6, 5]), Ok(([3, 5], 75)));
        for (share, shape, expected) in [
            ((0, 1), &[5, 6, 5][..], "4 experts, as the configuration says"),
            ((0, 2), &[4, 5, 5], "rows of 2 matrices of each expert"),
            ((0, 1), &[4, 6], "shape [experts, rows, columns]"),
        ] {
            assert_eq!(locate(&part(share), shape), Err(expected.to_owned()));
        }
    }
}
