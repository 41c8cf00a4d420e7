"""What SCIM and Okta say of the attributes of a user, read off the structs that hold them (agent.model.users).

Name, type and number are a field's own; the rest stands in its annotation. Bodies, filters, paths, /Schemas, the OpenAPI
text, the models of scim2-models and the default mapping all come from here. Decodes nothing, knows no user.
"""

from typing import Literal, get_args, get_origin

from msgspec import Struct, structs

AttributeKind = Literal["string", "boolean", "reference", "dateTime", "complex"]
Mutability = Literal["readWrite", "readOnly", "immutable"]


class Attribute(Struct, frozen=True):
    """One attribute as RFC 7643 §7 describes it; in an annotation, what of it the field itself doesn't say."""

    description: str = ""
    name: str = ""
    kind: AttributeKind = "string"
    multi: bool = False
    required: bool = False
    case_exact: bool = False
    mutability: Mutability = "readWrite"
    returned: Literal["always", "default"] = "default"
    uniqueness: Literal["none", "server"] = "none"
    #: In the annotation of a multi-valued one: those of its ``type``.
    canonical: tuple[str, ...] = ()
    #: What it refers to. Said of a field, it makes that a reference.
    references: tuple[str, ...] = ()
    subs: tuple["Attribute", ...] = ()
    #: Its key in Okta's app profile where that is another than its name; "" where Okta's default has none.
    okta: str | None = None
    #: The field, and the struct of a complex one's values.
    field: str = ""
    struct: type[Struct] | None = None

    def sub(self, name: str) -> "Attribute | None":
        return next((a for a in self.subs if a.name.lower() == name.lower()), None)


def attributes_of(struct: type[Struct]) -> tuple[Attribute, ...]:
    """In the order of the fields, all of which are annotated."""
    return tuple(_attribute(field) for field in structs.fields(struct))


def _attribute(field: structs.FieldInfo) -> Attribute:
    said: Attribute
    annotated, said = get_args(field.type)
    multi = get_origin(annotated) is tuple
    # Of "X | None" and of "tuple[X, ...]" alike, X comes first.
    made_of = get_args(annotated)[0]
    complex_ = issubclass(made_of, Struct)
    subs = attributes_of(made_of) if complex_ else ()
    if multi:
        subs = tuple(structs.replace(sub, canonical=said.canonical) if sub.name == "type" else sub for sub in subs)
    return structs.replace(
        said,
        name=field.encode_name,
        kind="complex" if complex_ else "boolean" if made_of is bool else "reference" if said.references else "string",
        multi=multi,
        case_exact=said.case_exact or bool(said.references),
        canonical=() if multi else said.canonical,
        subs=subs,
        field=field.name,
        struct=made_of if complex_ else None,
    )
