//! A template as its parser leaves it.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::arithmetic::Operator;
use super::compare::Comparison;
use super::value::Value;

pub(super) type Body = Vec<Statement>;

pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) kind: StatementKind,
}

pub(super) enum StatementKind {
    Text(Rc<str>),
    Print(Expression),
    /// The first branch whose condition is true.
    If(Vec<(Expression, Body)>, Body),
    For(Rc<For>),
    Set(Target, Expression),
    SetBlock(Target, Vec<FilterCall>, Body),
    Macro(Rc<Macro>),
    /// A call that is handed the block's body as `caller`.
    Call(Expression, Rc<Macro>),
    FilterBlock(Vec<FilterCall>, Body),
    With(Vec<(Target, Expression)>, Body),
    /// Output in a scope of its own: `generation`.
    Generation(Body),
    /// Sees what the template's outermost statements have set, only.
    Block {
        is_scoped: bool,
        body: Body,
    },
    Autoescape(Expression, Body),
    Break,
    Continue,
    /// `include`, `import` or `extends`: a chat template stands alone.
    OtherTemplate,
}

pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expression,
    pub(super) condition: Option<Expression>,
    pub(super) is_recursive: bool,
    pub(super) body: Body,
    pub(super) otherwise: Body,
}

pub(super) struct Macro {
    pub(super) name: Rc<str>,
    pub(super) parameters: Vec<(Rc<str>, Option<Expression>)>,
    pub(super) body: Body,
    /// Which of the names that are bound only where they are used the body uses.
    pub(super) uses: Uses,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Uses {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}

/// What a value is assigned to.
pub(super) enum Target {
    Name(Rc<str>),
    Attribute(Rc<str>, Rc<str>),
    Tuple(Vec<Target>),
}

pub(super) struct Expression {
    pub(super) line: usize,
    pub(super) kind: ExpressionKind,
}

pub(super) enum ExpressionKind {
    Constant(Value),
    Name(Rc<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    /// `-x`, or `+x`.
    Sign {
        is_negative: bool,
        value: Box<Expression>,
    },
    Binary(Operator, Box<Expression>, Box<Expression>),
    Concat(Vec<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    Conditional {
        condition: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
    Attribute(Box<Expression>, Rc<str>),
    Item(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, [Option<Box<Expression>>; 3]),
    Call(Box<Expression>, CallArguments),
    Filter(Box<Expression>, FilterCall),
    Test(Box<Expression>, Rc<str>, CallArguments),
}

pub(super) struct FilterCall {
    pub(super) line: usize,
    pub(super) name: Rc<str>,
    pub(super) arguments: CallArguments,
}

#[derive(Default)]
pub(super) struct CallArguments {
    pub(super) positional: Vec<Expression>,
    pub(super) named: Vec<(Rc<str>, Expression)>,
    /// `*values`.
    pub(super) sequence: Option<Box<Expression>>,
    /// `**values`.
    pub(super) mapping: Option<Box<Expression>>,
}

impl CallArguments {
    pub(super) fn is_empty(&self) -> bool {
        self.positional.is_empty() && self.named.is_empty() && self.sequence.is_none() && self.mapping.is_none()
    }
}
