"""OPC UA, reading only: certificates, one session with a server, and the reader that keeps one alive.

Imported only when a gateway file names an OPC UA server: the protocol stack costs memory that a Modbus gateway keeps.
"""
