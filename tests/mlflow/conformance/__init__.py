"""What a registry server must do for the unmodified MLflow client.

- ``cases``: how a case is declared. The modules named in ``ALL_MODULES`` of
  ``catalogue`` hold them, one module for each part of the protocol.
- ``world``: what a case is given: a client, plain HTTP, and which server it is.
- ``driver``: runs all cases against one server, inside MLflow's environment.
- ``running``: starts a server and the driver, and reads the driver's report.

Every case passes against MLflow's own server too. Where that server is wrong by
its own documents, the case says so (``stricter``) and expects its error there.
"""
