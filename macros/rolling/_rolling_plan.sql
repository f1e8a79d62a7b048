{#
  The arguments of rolling_features, validated and completed; raises all problems in one error.

    plan.key_columns, plan.event_time, plan.available_at, plan.relation     names and text of SQL
    plan.windows     [{'suffix': '7d', 'seconds': 604800}, ...]      plan.widest: the greatest of the seconds
    plan.columns     [{'name': 'late_share_7d', 'agg': 'share', 'slot': 'fl_x2', 'window': {...}}, ...]
    plan.slots       [{'name': 'fl_x2', 'sql': 'case when ...'}, ...] what each feature aggregates, per event
    plan.grid        none, or {'every': seconds, 'start': datetime, 'steps': n}
    plan.until       datetime: nothing after it is known to this build
    plan.batch       none, or the (start, end) of the microbatch being built
#}
{% macro _rolling_plan(relation, keys, event_time, windows, features, available_at, mode, every, start, until) %}
    {% set problems = [] %}
    {% set keys = [keys] if keys is string else (keys | list) %}
    {% if not keys %}{% do problems.append('keys: name at least one key column') %}{% endif %}

    {% set spelled = [] %}
    {% set named = windows if windows is mapping else {} %}
    {% for window in ([windows] if windows is string else windows) %}
        {% set text = named.get(window, window) %}
        {% set seconds = featurelayer._duration_seconds(text) %}
        {% if not seconds %}
            {% do problems.append("windows: '" ~ text ~ "' is not a duration of a second or more; write '30 minutes', '24 hours' or '7 days'") %}
        {% else %}
            {% set suffix = window if windows is mapping else featurelayer._duration_suffix(text) %}
            {% do spelled.append({'suffix': suffix, 'seconds': seconds}) %}
        {% endif %}
    {% endfor %}
    {% if not spelled and not problems %}{% do problems.append('windows: name at least one window') %}{% endif %}

    {% set slots = [] %}
    {% if not features %}{% do problems.append('features: name at least one feature') %}{% endif %}
    {% for name, feature in features.items() %}
        {% do problems.extend(featurelayer._rolling_feature_problems(name, feature)) %}
        {% do slots.append({
            'name': 'fl_x' ~ loop.index,
            'feature': name,
            'agg': feature.get('agg'),
            'sql': featurelayer._rolling_slot(feature, event_time),
        }) %}
    {% endfor %}

    {% set columns = [] %}
    {% for window in spelled %}
        {% for slot in slots %}
            {% do columns.append({'name': slot.feature ~ '_' ~ window.suffix, 'agg': slot.agg, 'slot': slot.name, 'window': window}) %}
        {% endfor %}
    {% endfor %}
    {% for name in columns | map(attribute='name') | list %}
        {% if (columns | selectattr('name', 'equalto', name) | list | length) > 1 %}
            {% do problems.append("windows: two columns would be called '" ~ name ~ "'; name the windows, as in {'week': '7 days'}") %}
        {% endif %}
    {% endfor %}

    {% set until = featurelayer._moment(until if until is not none else run_started_at) %}
    {% set grid = none %}
    {% if mode == 'grid' %}
        {% set step = featurelayer._duration_seconds(every) %}
        {% if not step %}{% do problems.append("every: mode 'grid' needs the distance of its rows, as in every='1 hour'") %}{% endif %}
        {% if start is none %}{% do problems.append("start: mode 'grid' needs the time of its first row, as in start='2013-01-01'") %}{% endif %}
        {% if step and start is not none %}
            {% set start = featurelayer._moment(start) %}
            {% if start > until %}{% do problems.append('start: ' ~ start ~ ' is after ' ~ until ~ ', where the rows end') %}{% endif %}
            {% set grid = {'every': step, 'start': start, 'steps': ((until - start).total_seconds() // step) | int + 1} %}
        {% endif %}
    {% elif mode != 'event-driven' %}
        {% do problems.append("mode: '" ~ mode ~ "' is neither 'event-driven' nor 'grid'") %}
    {% elif every is not none or start is not none %}
        {% do problems.append("every, start: only mode 'grid' has them") %}
    {% endif %}

    {% if problems %}
        {% do exceptions.raise_compiler_error('rolling_features can not be built:\n  - ' ~ (problems | unique | join('\n  - '))) %}
    {% endif %}
    {{ return({
        'relation': featurelayer._rendered(relation), 'key_columns': keys, 'event_time': event_time, 'available_at': available_at,
        'windows': spelled, 'widest': spelled | map(attribute='seconds') | max, 'slots': slots, 'columns': columns,
        'grid': grid, 'until': until, 'batch': featurelayer._batch(),
    }) }}
{% endmacro %}
