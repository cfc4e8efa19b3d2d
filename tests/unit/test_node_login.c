/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void it_keeps_copies(void **state)
{
    (void)state;
    char user[] = "ann", password[] = "secret";
    struct node_login *l = node_login_new(str_of(user), str_of(password));
    assert_non_null(l);
    memset(user, 'x', sizeof(user));
    memset(password, 'x', sizeof(password));
    assert_int_equal(l->user.len, 3);
    assert_memory_equal(l->user.p, "ann", 3);
    assert_int_equal(l->password.len, 6);
    assert_memory_equal(l->password.p, "secret", 6);
    assert_ptr_equal(node_login_ref(l), l);
    assert_null(node_login_unref(l));
    assert_memory_equal(l->password.p, "secret", 6);
    assert_null(node_login_unref(l));
}

static void without_user_or_password(void **state)
{
    (void)state;
    struct node_login *l = node_login_new((struct str){NULL, 0}, STR(""));
    assert_non_null(l);
    assert_int_equal(l->user.len + l->password.len, 0);
    assert_null(node_login_unref(l));
    assert_null(node_login_ref(NULL));
    assert_null(node_login_unref(NULL));
}

static void a_view_holds_it(void **state)
{
    (void)state;
    struct node_login *l = node_login_new(STR(""), STR("secret"));
    struct view_node node = {.name = "10.0.0.1:6379", .weight = 1, .login = l};
    struct view *v = NULL;
    assert_non_null(l);
    assert_int_equal(view_new(1, &node, 1, &v), 0);
    assert_int_equal(atomic_load(&l->refs), 2);
    assert_null(node_login_unref(l));
    assert_memory_equal(v->nodes[0].login->password.p, "secret", 6);
    assert_null(view_unref(v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_keeps_copies),
        cmocka_unit_test(without_user_or_password),
        cmocka_unit_test(a_view_holds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
