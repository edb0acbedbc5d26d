"""Fields of a request that may come in its query or in its body."""

from flask import Request

from registry.mlflow_api.reading import Fields, fields_of


def fields_anywhere(request: Request) -> Fields:
    """The fields of a GET or DELETE.

    Raises:
        InvalidInputError: when there is no query and the body is no JSON object.
    """
    if request.args:
        return Fields(dict(request.args.lists()), is_query=True)
    return fields_of(request)
