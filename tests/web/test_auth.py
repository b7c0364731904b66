from __future__ import annotations

from services.dispatcher.engine.people import Role, token_hash
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Login
from services.dispatcher.web.auth import TRIES_PER_NAME_MAX
from services.dispatcher.web.deps import WebSettings
from tests import builders
from tests.builders import NOON_US, PASSWORD
from tests.web.api import Api, refusal

CONSOLE = {"X-Tocsin-Console": "1"}
LIFETIME_US = 12 * 3_600_000_000


def test_the_right_password_gives_a_token_and_says_who_it_is(api: Api) -> None:
    api.town.person("street", Role.OFFICE, office=builders.STREET_OFFICE)
    answer = api.log_in("street").json()
    token = answer.pop("token")
    me = {
        "person": "street",
        "name": "street",
        "roles": ["office"],
        "office": builders.STREET_OFFICE,
        "expires": NOON_US + LIFETIME_US,
    }
    assert answer == me
    assert api.client.get("/api/me", headers={"Authorization": f"Bearer {token}"}).json() == me


def test_only_the_hash_of_a_token_is_stored(api: Api) -> None:
    token = api.token("duty")
    with api.town.store.read() as read:
        assert [login.id for login in read.find(Login, Page())] == [token_hash(token)]


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(api: Api) -> None:
    api.token("duty")
    wrong = api.log_in("duty", "not the password")
    nobody = api.log_in("nobody", "not the password")
    assert refusal(wrong) == refusal(nobody) == (401, "wrong_password")
    assert wrong.json() == nobody.json()


def test_after_five_wrong_tries_a_name_must_wait_even_with_the_right_password(api: Api) -> None:
    api.town.person("duty", Role.DUTY_OFFICER)
    for _ in range(TRIES_PER_NAME_MAX):
        assert refusal(api.log_in("duty", "not the password")) == (401, "wrong_password")
    waiting = api.log_in("duty")
    assert refusal(waiting) == (429, "too_many_tries")
    assert waiting.headers["retry-after"] == "61"
    api.town.clock.advance(60)
    assert api.log_in("duty").status_code == 200


def test_wrong_tries_for_one_name_do_not_keep_others_out(api: Api) -> None:
    api.town.person("chief", Role.APPROVER)
    for _ in range(TRIES_PER_NAME_MAX + 1):
        api.log_in("duty", "not the password")
    assert api.log_in("chief").status_code == 200


def test_a_right_password_forgives_earlier_wrong_ones(api: Api) -> None:
    api.town.person("duty", Role.DUTY_OFFICER)
    for _ in range(3):
        for _ in range(TRIES_PER_NAME_MAX - 1):
            api.log_in("duty", "not the password")
        assert api.log_in("duty").status_code == 200


def test_without_a_token_every_page_of_people_is_closed(api: Api) -> None:
    for path in ("me", "incidents", "tasks", "broadcasts", "speakers", "streams", "unread", "log", "city"):
        answer = api.client.get(f"/api/{path}")
        assert (path, *refusal(answer)) == (path, 401, "not_logged_in")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_an_expired_login_is_no_login(api: Api) -> None:
    api.token("duty")
    api.town.clock.advance(LIFETIME_US / 1_000_000)
    assert refusal(api.get("duty", "/api/me")) == (401, "not_logged_in")


def test_logging_out_ends_this_login_and_no_other(api: Api) -> None:
    api.token("duty")
    other = api.log_in("duty").json()["token"]
    api.client.cookies.clear()
    assert api.post("duty", "/api/logout").status_code == 204
    assert refusal(api.get("duty", "/api/me")) == (401, "not_logged_in")
    assert api.client.get("/api/me", headers={"Authorization": f"Bearer {other}"}).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(api: Api) -> None:
    api.town.person("duty", Role.DUTY_OFFICER)
    answer = api.log_in("duty")
    token = answer.json()["token"]
    said = f"tocsin_token={token}; HttpOnly; Max-Age=43200; Path=/; SameSite=strict"
    assert answer.headers["set-cookie"] == said


def test_the_cookie_goes_over_tls_alone_unless_told_otherwise() -> None:
    api = Api(builders.town(), WebSettings())
    api.town.person("duty", Role.DUTY_OFFICER)
    assert api.log_in("duty").headers["set-cookie"].endswith("; Secure")


def test_the_cookie_reads_but_changes_nothing_without_the_consoles_header(api: Api) -> None:
    b = api.fire()["broadcast"]
    api.log_in("duty")
    assert api.client.get("/api/me").json()["person"] == "duty"
    path = f"/api/broadcasts/{b['id']}/decline"
    assert refusal(api.client.post(path, json={"why": "误报"})) == (403, "csrf_header_missing")
    assert api.page(b["id"])["broadcast"]["state"] == "draft"
    assert api.client.post(path, json={"why": "误报"}, headers=CONSOLE).json()["broadcast"]["state"] == "declined"


def test_a_bearer_token_needs_no_console_header(api: Api) -> None:
    b = api.fire()["broadcast"]
    answer = api.post("duty", f"/api/broadcasts/{b['id']}/decline", {"why": "误报"})
    assert answer.status_code == 200


def test_a_login_from_a_form_of_another_site_is_not_read(api: Api) -> None:
    api.town.person("duty", Role.DUTY_OFFICER)
    raw = f'{{"name": "duty", "password": "{PASSWORD}"}}'
    answer = api.client.post("/api/login", content=raw, headers={"Content-Type": "text/plain"})
    assert refusal(answer) == (422, "malformed")


def test_a_malformed_login_is_refused_without_repeating_the_password(api: Api) -> None:
    answer = api.client.post("/api/login", json={"name": "duty", "password": "s3cret", "also": "x"})
    assert refusal(answer) == (422, "malformed")
    assert answer.json()["errors"] == [{"where": "body.also", "message": "Extra inputs are not permitted"}]
    assert "s3cret" not in answer.text


def test_a_token_of_absurd_length_is_no_login(api: Api) -> None:
    answer = api.client.get("/api/me", headers={"Authorization": "Bearer " + "x" * 10_000})
    assert refusal(answer) == (401, "not_logged_in")
