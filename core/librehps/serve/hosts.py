"""Names, networks and suffixes that a Host header may have."""

import ipaddress
import re
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# An IPv6 address in brackets, or a name or IPv4 address; then a port.
_HOST = re.compile(
    r"(?:\[([0-9a-f:.]+(?:%[a-z0-9_.%-]+)?)\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?)(?::[0-9]*)?"
)


class AllowedHosts:
    """The rules of --allowed-host: exact names, `10.0.0.0/8` and `*.suffix`, all normalised."""

    def __init__(self, rules: Iterable[str]) -> None:
        rules = frozenset(rules)
        self._networks = [network for rule in rules if (network := _network(rule)) is not None]
        self._suffixes = tuple(rule[1:] for rule in rules if rule.startswith("*."))
        self._names = frozenset(rule for rule in rules if "/" not in rule and "*" not in rule)

    def allow(self, name: str) -> bool:
        """Return True if a request may name this host; `name` is from `host_name`."""
        if name in self._names or name.endswith(self._suffixes):
            return True
        try:
            address: Address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An IPv4 address in IPv6 form may match a network of either kind.
        forms = {address, getattr(address, "ipv4_mapped", None) or address}
        return any(form in network for form in forms for network in self._networks)


def _network(rule: str) -> Network | None:
    """Return the network or address of a rule, None for names."""
    try:
        return ipaddress.ip_network(rule)
    except ValueError:
        return None


def host_name(header: str) -> str:
    """Return the name in a Host header in lower case, without its port; empty if invalid."""
    found = _HOST.fullmatch(header.strip(" \t").lower())
    return (found[1] or found[2]) if found else ""
