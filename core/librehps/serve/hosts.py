"""Names, networks and suffixes that a Host header may have."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AllowedHosts:
    """The rules of --allowed-host: exact names, `10.0.0.0/8` and `*.suffix`, all normalised."""

    def __init__(self, rules: Iterable[str]) -> None:
        rules = frozenset(rules)
        self._networks = [ipaddress.ip_network(rule) for rule in rules if "/" in rule]
        self._suffixes = tuple(rule[1:] for rule in rules if rule.startswith("*."))
        self._names = rules

    def allow(self, name: str) -> bool:
        """Return True if a request may name this host; `name` has no port."""
        if name in self._names:
            return True
        if name.endswith(self._suffixes):
            # An empty label is no name.
            return not name.startswith(".")
        return bool(self._networks) and self._is_in_network(name)

    def _is_in_network(self, name: str) -> bool:
        try:
            address: Address = ipaddress.ip_address(name)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def host_name(header: str) -> str:
    """Return the name in a Host header in lower case, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    name, _, port = name.partition(":")
    return name.rstrip(".") if port.isdigit() or not port else ""
