"""Documents that people hand in: bills, exported meter data, production reports, shift calendars, weather.

Bytes become sheets of cells (`reading`), a mapping says which column is what (`mapping`), and the two together become
values with their periods, or errors with their cells (`rows`). A mapping is proposed from the content (`proposal`).
Nothing here is signed by a gateway: whatever is computed from it says so (`evidence.grade`).
"""
