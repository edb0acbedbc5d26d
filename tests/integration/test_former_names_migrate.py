"""Models of the release before have had no other name, as far as is known."""

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from registry.persistence import schema
from registry.persistence.tables import RegisteredModel
from tests.integration import test_mlflow_times_migrate as earlier

BEFORE = "0008"
old = earlier.old


def test_the_release_before_goes_on_making_models(old: Engine) -> None:
    earlier.upgrade_to(old, BEFORE)
    before = earlier.columns_of(old)
    earlier.write_as_before(old, before, "fraud")

    schema.upgrade(old)
    earlier.write_as_before(old, before, "churn")

    with Session(old) as session:
        models = session.scalars(select(RegisteredModel)).all()
    assert [model.former_names for model in models] == [[], []]
