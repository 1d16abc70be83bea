//! What the evaluator does otherwise than the real server is said in other words before it runs.

use kube_cel::cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

/// Says optional fields with `has`, as the evaluator nests optionals in optionals; in `dynamic`
/// expressions also fields with brackets: it takes a field of what has none for false.
pub(super) fn rewrite(expression: &mut IdedExpr, dynamic: bool) {
    if let Some((base, fields)) = optional_chain(expression) {
        let (mut base, fields) = (base.clone(), fields);
        rewrite(&mut base, dynamic);
        *expression = optional(base, &fields, dynamic);
        return;
    }
    let again = |inner: &mut IdedExpr| rewrite(inner, dynamic);
    match &mut expression.expr {
        Expr::Select(select) => {
            again(&mut select.operand);
            if dynamic && !select.test {
                let operand = std::mem::take(&mut *select.operand);
                let field = std::mem::take(&mut select.field);
                expression.expr = index(operand, &field);
            }
        }
        Expr::Call(call) => call
            .target
            .as_deref_mut()
            .into_iter()
            .chain(&mut call.args)
            .for_each(again),
        Expr::Comprehension(of) => [
            &mut of.iter_range,
            &mut of.accu_init,
            &mut of.loop_cond,
            &mut of.loop_step,
            &mut of.result,
        ]
        .into_iter()
        .for_each(again),
        Expr::List(list) => list.elements.iter_mut().for_each(again),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key, dynamic);
                    rewrite(&mut entry.value, dynamic);
                }
            }
        }
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// Of `a.b.?c.d.?e`: `a.b`, and `c`, `d`, `e`. After the first optional field all are.
fn optional_chain(expression: &IdedExpr) -> Option<(&IdedExpr, Vec<String>)> {
    let (mut fields, mut at, mut base) = (Vec::new(), expression, None);
    let mut behind = Vec::new();
    loop {
        match &at.expr {
            Expr::Call(call) if call.func_name == operators::OPT_SELECT => {
                let [operand, field] = &call.args[..] else {
                    break;
                };
                let Expr::Literal(LiteralValue::String(field)) = &field.expr else {
                    break;
                };
                fields.append(&mut behind);
                fields.push(field.inner().to_owned());
                base = Some(operand);
                at = operand;
            }
            Expr::Select(SelectExpr {
                operand,
                field,
                test: false,
            }) => {
                behind.push(field.clone());
                at = operand;
            }
            _ => break,
        }
    }
    fields.reverse();
    base.map(|base| (base, fields))
}

/// `has(base.c) && has(base.c.d) ? optional.of(base.c.d) : optional.none()`.
fn optional(base: IdedExpr, fields: &[String], dynamic: bool) -> IdedExpr {
    let mut value = base;
    let mut condition: Option<IdedExpr> = None;
    for field in fields {
        let there = of(Expr::Select(SelectExpr {
            operand: Box::new(value.clone()),
            field: field.clone(),
            test: true,
        }));
        condition = Some(match condition {
            None => there,
            Some(before) => call(operators::LOGICAL_AND, vec![before, there]),
        });
        value = match dynamic {
            true => of(index(value, field)),
            false => of(Expr::Select(SelectExpr {
                operand: Box::new(value),
                field: field.clone(),
                test: false,
            })),
        };
    }
    let library = |name: &str, args: Vec<IdedExpr>| {
        of(Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: Some(Box::new(of(Expr::Ident("optional".to_owned())))),
            args,
        }))
    };
    let (some, none) = (library("of", vec![value]), library("none", Vec::new()));
    match condition {
        Some(condition) => call(operators::CONDITIONAL, vec![condition, some, none]),
        None => some,
    }
}

fn index(operand: IdedExpr, field: &str) -> Expr {
    let field = of(Expr::Literal(LiteralValue::String(field.into())));
    call(operators::INDEX, vec![operand, field]).expr
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    of(Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    }))
}

/// Places in the source are not asked for when it runs.
fn of(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
