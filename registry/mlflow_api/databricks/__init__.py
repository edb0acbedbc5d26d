"""What Databricks' workspace registry has besides MLflow's, over the same services.

Rules, as Databricks' API has them:

- Fields of DELETE and GET come in the query, as the SDK sends them, or in a body, as
  the documentation's examples do.
"""
