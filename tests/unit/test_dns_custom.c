/* dns/: hosts and zones that people add by hand. */
#include "lib/test.h"

#include "base/strbuf.h"
#include "dns/custom.h"

struct complaints {
    struct strbuf text;
};

static void complain(void *arg, const char *text)
{
    strbuf_addf(&((struct complaints *)arg)->text, "%s\n", text);
}

static char *read_both(const char *hosts, const char *zones, struct custom *c)
{
    struct complaints all = {.text = STRBUF_INIT};
    json_t *map = json_pack("{s:{s:s,s:s}}", "data", "hosts", hosts, "zones", zones);
    custom_read(map, c, complain, &all);
    json_decref(map);
    return strbuf_take(&all.text);
}

static void good_lines(_unused_ void **state)
{
    struct custom c;
    char text[IP_TEXT_MAX];
    _cleanup_free_ char *wrong =
        read_both("192.168.1.5 NAS.home nas # the disks\n\n# nothing\nfd00::5\tnas\r\n10.0.0.1 nas",
                  "corp.example 10.0.0.53 fd00::53\nlab.corp.example 10.0.1.53\n", &c);
    assert_string_equal(wrong ? wrong : "", "");
    const struct custom_host *nas = map_get(&c.hosts, "nas");
    assert_non_null(map_get(&c.hosts, "nas.home"));
    assert_non_null(nas);
    assert_int_equal(nas->count, 3);
    assert_string_equal(ip_addr_format(&nas->ips[1], text), "fd00::5");
    assert_string_equal(map_get(&c.addresses, "192.168.1.5"), "nas.home");
    assert_int_equal(c.n_zones, 2);
    assert_int_equal(custom_zone_of(&c, "a.corp.example")->n_servers, 2);
    assert_string_equal(custom_zone_of(&c, "corp.example")->name, "corp.example");
    assert_string_equal(custom_zone_of(&c, "x.lab.corp.example")->name, "lab.corp.example");
    assert_null(custom_zone_of(&c, "othercorp.example"));
    custom_done(&c);
}

static void bad_lines(_unused_ void **state)
{
    static const struct {
        const char *hosts, *zones, *complaint;
    } cases[] = {
        {"nas 192.168.1.5", "", "hosts: line 1: \"nas\" is no address\n"},
        {"192.168.1.5", "", "hosts: line 1: no name behind the address\n"},
        {"\n10.0.0.1 a..b ok", "", "hosts: line 2: \"a..b\" is no name\n"},
        {"", "corp.example", "zones: line 1: no server behind corp.example\n"},
        {"", "corp.example dns", "zones: line 1: \"dns\" is no address of a server\n"},
        {"", "a..b 10.0.0.1", "zones: line 1: \"a..b\" is no domain\n"},
        {"", "x 10.0.0.1\nX. 10.0.0.2", "zones: line 2: x is there twice\n"},
        {"", "x 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9",
         "zones: line 1: x has more than 8 servers\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct custom c;
        _cleanup_free_ char *wrong = read_both(cases[i].hosts, cases[i].zones, &c);
        assert_string_equal(wrong, cases[i].complaint);
        custom_done(&c);
    }
}

static void the_rest_holds(_unused_ void **state)
{
    struct custom c;
    _cleanup_free_ char *wrong = read_both("junk\n10.0.0.1 a..b ok\n", "x\ny 10.0.0.1\n", &c);
    assert_non_null(wrong);
    assert_true(map_has(&c.hosts, "ok"));
    assert_int_equal(c.n_zones, 1);
    custom_done(&c);
}

static void there_are_limits(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf hosts = STRBUF_INIT, zones = STRBUF_INIT;
    struct custom c;
    for (int i = 0; i <= CUSTOM_HOSTS_MAX; i++)
        strbuf_addf(&hosts, "10.0.0.1 h%d\n", i);
    for (int i = 0; i <= CUSTOM_PER_NAME; i++)
        strbuf_addf(&hosts, "10.0.1.%d h0\n", i);
    for (int i = 0; i <= CUSTOM_ZONES_MAX; i++)
        strbuf_addf(&zones, "z%d 10.0.0.1\n", i);
    _cleanup_free_ char *wrong = read_both(strbuf_text(&hosts), strbuf_text(&zones), &c);
    assert_non_null(strstr(wrong, "hosts: line 10001: more than 10000 names\n"));
    assert_non_null(strstr(wrong, "h0 has more than 16 addresses\n"));
    assert_non_null(strstr(wrong, "zones: line 65: more than 64 domains\n"));
    assert_int_equal(map_count(&c.hosts), CUSTOM_HOSTS_MAX);
    assert_int_equal(c.n_zones, CUSTOM_ZONES_MAX);
    custom_done(&c);
}

static void not_every_line_is_complained_of(_unused_ void **state)
{
    _cleanup_strbuf_ struct strbuf hosts = STRBUF_INIT;
    struct custom c;
    size_t lines = 0;
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&hosts, "junk%d\n", i);
    _cleanup_free_ char *wrong = read_both(strbuf_text(&hosts), "", &c);
    for (const char *p = wrong; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, CUSTOM_COMPLAINTS_MAX);
    assert_int_equal(c.n_wrong, 1000);
    custom_done(&c);
}

static void there_may_be_none(_unused_ void **state)
{
    struct custom c;
    struct complaints all = {.text = STRBUF_INIT};
    json_t *odd = json_pack("{s:{s:i}}", "data", "hosts", 7);
    custom_read(NULL, &c, complain, &all);
    assert_null(custom_zone_of(&c, "x"));
    custom_done(&c);
    custom_read(odd, &c, complain, &all);
    assert_int_equal(map_count(&c.hosts), 0);
    custom_done(&c);
    json_decref(odd);
    strbuf_done(&all.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),        cmocka_unit_test(bad_lines),
        cmocka_unit_test(the_rest_holds),    cmocka_unit_test(there_are_limits),
        cmocka_unit_test(there_may_be_none), cmocka_unit_test(not_every_line_is_complained_of),
    };
    return RUN_TESTS(tests);
}
