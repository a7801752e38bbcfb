"""Routes of a gateway: what a request means, and which paths and routes are refused."""

from __future__ import annotations

import pytest

from daypass.domain.gateway import GatewayRoute, check_origin, check_routes, meaning_of, read_path

ROUTES = (
    GatewayRoute("/", "shop:Look", "front"),
    GatewayRoute("/orders/{id}", "orders:Read", "order/{id}", ("GET",)),
    GatewayRoute("/orders/{id}/lines/{line}", "orders:ReadLine", "order/{id}/{line}"),
    GatewayRoute("/orders/", "orders:List", "orders"),
    GatewayRoute("/files/**", "files:Get", "file/{rest}"),
)


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("GET", b"/", "shop:Look arn:aws:shop::1:front"),
        ("GET", b"/orders/7", "orders:Read arn:aws:orders::1:order/7"),
        ("HEAD", b"/orders/7", "orders:Read arn:aws:orders::1:order/7"),
        ("GET", b"/orders/a%20b%C3%A9", "orders:Read arn:aws:orders::1:order/a bé"),
        ("GET", b"/orders/*", "orders:Read arn:aws:orders::1:order/*"),
        ("POST", b"/orders/7", ""),
        ("get", b"/orders/7", ""),
        ("GET", b"/Orders/7", ""),
        ("GET", b"/orders/7/", ""),
        ("GET", b"/orders", ""),
        ("GET", b"/orders/", "orders:List arn:aws:orders::1:orders"),
        ("DELETE", b"/orders/7/lines/2", "orders:ReadLine arn:aws:orders::1:order/7/2"),
        ("GET", b"/files/a/b", "files:Get arn:aws:files::1:file/a/b"),
        ("GET", b"/files", "files:Get arn:aws:files::1:file/"),
        ("GET", b"/filesystem", ""),
    ],
)
def test_first_route_that_fits_decides(method: str, path: bytes, meant: str) -> None:
    check_routes(ROUTES)
    found = meaning_of(ROUTES, method, read_path(path), "1")
    assert (" ".join(found) if found else "") == meant


@pytest.mark.parametrize(
    "path",
    [b"", b"orders", b"//", b"/a//b", b"/.", b"/..", b"/a/../b", b"/%2e%2E/b", b"/a%2fb", b"/a%5Cb", b"/a\\b", b"/a%252e",
     b"/a%3bb", b"/a;b", b"/a%00", b"/a%0a", b"/a%7f", b"/a b", b"/a%", b"/a%zz", b"/a#b", b"/a%23b", b"/a%3fb", b"/\xc3\xa9",
     b"/%c0%ae%c0%ae/", b"/%ff", b"/%E2%80%AE", b"http://x/a", b"/a\nb", b"*"],
)  # fmt: skip
def test_a531_path_that_programs_read_differently_is_refused(path: bytes) -> None:
    with pytest.raises(ValueError, match=r"it (has|is)"):
        read_path(path)


@pytest.mark.parametrize(
    ("path", "action", "resource", "methods"),
    [
        ("orders", "orders:Read", "x", ()),
        ("/a//b", "orders:Read", "x", ()),
        ("/a/../b", "orders:Read", "x", ()),
        ("/**/a", "orders:Read", "x", ()),
        ("/a/**b", "orders:Read", "x", ()),
        ("/a%2fb", "orders:Read", "x", ()),
        ("/{id}/{id}", "orders:Read", "x", ()),
        ("/{id}x", "orders:Read", "x", ()),
        ("/a", "Read", "x", ()),
        ("/a", "orders:*", "x", ()),
        ("/a", "sts:AssumeRole", "x", ()),
        ("/a", "daypass:RevokeSession", "x", ()),
        ("/a", "orders:Read", "", ()),
        ("/a", "orders:Read", "order/{id}", ()),
        ("/a", "orders:Read", "order/{", ()),
        ("/a", "orders:Read", "order/\n", ()),
        ("/{id}", "orders:Read", "order/{rest}", ()),
        ("/a", "orders:Read", "x", ("get",)),
    ],
)
def test_route_that_cannot_be_used_is_refused(path: str, action: str, resource: str, methods: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="route 1: "):
        check_routes((GatewayRoute(path, action, resource, methods),))


@pytest.mark.parametrize(
    ("query", "resource"), [(("a b",), "x"), (("id",), "x"), (("a", "a"), "x"), (tuple("abcde"), "x"), (("a",), "{b}")]
)
def test_query_that_cannot_be_used_is_refused(query: tuple[str, ...], resource: str) -> None:
    with pytest.raises(ValueError, match="route 1: "):
        check_routes((GatewayRoute("/{id}", "orders:Read", resource, (), query),))


def test_named_parameter_is_there_once_and_unambiguous() -> None:
    routes = (GatewayRoute("/", "rds-db:connect", "dbuser:orders/{DBUser}", (), ("DBUser",)),)
    check_routes(routes)

    def named(query: bytes) -> str:
        found = meaning_of(routes, "GET", ("",), "111122223333", query)
        return found.resource if found else ""

    assert named(b"Action=connect&DBUser=app%2D1") == "arn:aws:rds-db::111122223333:dbuser:orders/app-1"
    for query in (
        *(
            b"",
            b"DBUser",
            b"DBUser=",
            b"dbuser=app",
            b"DBUser=a&DBUser=b",
            b"DBUser=a&DB%55ser=b",
            b"DBUser=a& DBUser=b",
        ),
        *(b"DBUser=a+b", b"DBUser=a/b", b"DBUser=a%2fb", b"DBUser=%", b"DBUser=%ff", b"DBUser=..", b"DBUser=a%0a"),
    ):
        with pytest.raises(ValueError, match=r"DBUser|UTF-8|dot segment|differently"):
            named(query)


@pytest.mark.parametrize(
    "origin", ["orders.example", "https://Orders.example", "https://o.example/", "https://a@b", "ftp://x"]
)
def test_origin_is_scheme_and_host(origin: str) -> None:
    with pytest.raises(ValueError, match="origin: "):
        check_origin(origin)
