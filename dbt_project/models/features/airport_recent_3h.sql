with rolling as (
    {{ featurelayer.rolling_features(
        relation=ref('stg_flights'),
        keys=['origin'],
        event_time='departed_at',
        windows=['3 hours'],
        features={
            'departures': {'agg': 'count'},
            'dep_delay_mean': {'agg': 'mean', 'of': 'dep_delay'},
            'dep_delay_max': {'agg': 'max', 'of': 'dep_delay'},
            'late_share': {'agg': 'share', 'of': 'dep_delay >= 15'},
            'last_late_departure_at': {'agg': 'last_time', 'where': 'dep_delay >= 15'},
        },
    ) }}
)

select
    origin as airport,
    departed_at as measured_at,
    departures_3h as departures,
    dep_delay_mean_3h as dep_delay_mean,
    cast(dep_delay_max_3h as integer) as dep_delay_max,
    late_share_3h as late_share,
    last_late_departure_at_3h as last_late_departure_at
from rolling
